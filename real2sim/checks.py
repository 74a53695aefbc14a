"""What people type, numbers above all: what it may be, in one sentence where it is something else."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from real2sim.wording import did_you_mean

LARGEST_SEED = 2**63 - 1
LARGEST_COUNT = 2**31 - 1
"""Of whole numbers that are no seeds; larger ones are typing errors."""
LARGEST_BATCH = 65_536
"""Examples of a step of a training; no machine holds many more."""
COLDEST = 1e-6
"""Temperature below which the likeliest is drawn anyway, and quotients may overflow."""
SHORTEST_DIRECTION = 1e-6
"""Length below which a direction is none."""
LONGEST_NAME = 255
"""Bytes of the name of a file or folder."""


def check_whole(name: str, value: Any, low: int | None = 1, high: int | None = None) -> int:
    """The whole number ``value``; ValueError unless it is one between ``low`` and ``high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number, got {_shown(value)}")
    _check_range(name, value, low, high)
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """The truth value ``value``; ValueError unless it is one, as text and None are true or false too."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise ValueError(f"{name} must be True or False, got {_shown(value)}")
    return bool(value)


def as_path(what: str, value: Any) -> Path:
    """The path ``value``; ValueError unless it is text or a path."""
    if not isinstance(value, str | Path):
        raise ValueError(f"{what} is named by text or a path, got {_shown(value)}")
    check_text(f"the name of {what}", value)
    return Path(value)


def check_temperature(value: Any, high: float | None = None) -> float:
    """The temperature ``value``; ValueError unless it is 0 or a number by which scores can be divided."""
    temperature = check_finite("temperature", value, 0, high)
    if 0 < temperature < COLDEST:
        raise ValueError(
            f"temperature is {value}, expected 0, which takes the likeliest, or at least {COLDEST:g}"
        )
    return temperature


def check_choice(name: str, value: Any, choices: Sequence[str], more: str = "") -> str:
    """The word ``value``; ValueError unless it is one of ``choices``, beside which ``more`` is allowed."""
    if not isinstance(value, str) or value not in choices:
        meant = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise ValueError(
            f"{name} is {_shown(value)}{meant}; expected {' or '.join(map(repr, choices))}{more}"
        )
    return value


def check_once(**folders: Sequence[Path]) -> None:
    """ValueError where a folder is named twice, in one option or in two: what was learned measures nothing."""
    found: dict[Path, str] = {}
    for option, folder in ((option, folder) for option, named in folders.items() for folder in named):
        place = Path(folder).resolve()
        if place in found:
            raise ValueError(
                f"{folder} is named twice, in --{found[place]} and in --{option}; name each folder once, as "
                "episodes that were learned cannot measure what was learned"
            )
        found[place] = option


def check_finite(name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """The finite number ``value``; ValueError unless it is one between ``low`` and ``high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {_shown(value)}")
    _check_range(name, value, low, high)
    return float(value)


def check_sizes(config: Any, *names: str, low: int = 1, high: int = 65_536, within: str = "") -> None:
    """Raise a ValueError unless these fields of a configuration, numbers or tuples of numbers, are sizes."""
    for name in names:
        value = getattr(config, name)
        for item in value if isinstance(value, tuple | list) else (value,):
            check_whole(f"{within}{name}", item, low, high)


def check_vector(name: str, value: Any, length: int, largest: float, *, direction: bool = False) -> None:
    """ValueError unless ``value`` is a tuple of ``length`` numbers up to ``largest``, not all 0 for a direction."""
    if len(value) != length:
        raise ValueError(f"{name} has {len(value)} numbers, expected {length}")
    for item in value:
        check_finite(name, item, -largest, largest)
    if direction and math.hypot(*value) < SHORTEST_DIRECTION:
        raise ValueError(f"{name} is {_shown(value)}, expected a direction, whose numbers are not all 0")


def check_seed(name: str, value: Any) -> int:
    """The seed ``value``; ValueError unless it is a whole number from 0 to 2^63 - 1."""
    return check_whole(name, value, 0, LARGEST_SEED)


def check_options(config: Any, within: str = "") -> None:
    """Raise a ValueError that names the option unless the numbers of a configuration can be meant.

    None is NaN or, where its default is finite, infinite; none is below 0 whose default is not; whole ones stay below
    2^31, seeds are seeds, devices are devices, text is UTF-8 and, where it may be left out, not empty.
    Configurations within it are looked at too.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{within}{field.name.replace('_', '-')}"
        if dataclasses.is_dataclass(value):
            check_options(value, f"{name}.")
            continue
        if value == "" and field.default is None:
            raise ValueError(
                f"--{name} is empty; leave it out or give it a value (is a shell variable unset?)"
            )
        if field.name == "device" and "Literal" not in str(field.type):
            # Where a choice of words is named, the parser has seen to it.
            check_device_name(value)
        default = field.default if isinstance(field.default, int | float) else 0
        low = None if default < 0 else 0
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, str | Path):
                check_text(name if "Positional" in str(field.type) else f"--{name}", item)
            if isinstance(item, bool) or not isinstance(item, int | float):
                continue
            if field.name == "seed":
                check_seed(f"--{name}", item)
            elif isinstance(item, int):
                check_whole(f"--{name}", item, low, LARGEST_COUNT)
            elif not (item == math.inf == default):
                # Several numbers may be bounds or places.
                check_finite(f"--{name}", item, None if isinstance(value, tuple) else low)


def check_kinds(config: Any) -> None:
    """ValueError that names the field unless the fields of a configuration have the types that they are written with.

    How large a number may be is left to the checks of numbers; NumPy's become Python's, text becomes a path where one
    is expected, and a path text.
    """
    hints = _hints(typing.cast(Any, type(config)))
    for name, value in ((field.name, getattr(config, field.name)) for field in dataclasses.fields(config)):
        found = _of_kind(value, hints[name])
        if found is _WRONG and hints[name] in (int, float):
            kind = "whole" if hints[name] is int else "finite"
            raise ValueError(f"{name} must be a {kind} number, got {_shown(value)}")
        if found is _WRONG:
            raise ValueError(f"{name} is {_shown(value)}, expected {_kind_name(hints[name])}")
        if found is not value:
            object.__setattr__(config, name, found)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


_WRONG = object()


def _of_kind(value: Any, kind: Any) -> Any:
    """The value, as path or text where the type asks for one; `_WRONG` if it is of another type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        each = [_of_kind(value, one) for one in inner]
        return next((found for found in each if found is not _WRONG), _WRONG)
    if origin is typing.Literal:
        # Text of NumPy is text; arrays compare to no single answer.
        word = str(value) if isinstance(value, str) else value
        return (
            word if any(word is one or (type(word) is type(one) and word == one) for one in inner) else _WRONG
        )
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, tuple | list):
            return _WRONG
        wanted = (inner[0],) * len(value) if Ellipsis in inner else inner
        if len(wanted) != len(value):
            return _WRONG
        items = [_of_kind(item, one) for item, one in zip(value, wanted, strict=True)]
        changed = any(new is not old for new, old in zip(items, value, strict=True)) or isinstance(
            value, list
        )
        return _WRONG if _WRONG in items else tuple(items) if changed else value
    if kind is Path:
        return (
            Path(value) if isinstance(value, str) and value else value if isinstance(value, Path) else _WRONG
        )
    if kind is str and isinstance(value, Path):
        return str(value)
    if kind is bool:
        return bool(value) if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_") else _WRONG
    if kind in (int, float):
        allowed = numbers.Integral if kind is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, allowed):
            return _WRONG
        return value if type(value) in (int, float) else kind(value)
    if kind is type(None):
        return value if value is None else _WRONG
    return value if not isinstance(kind, type) or isinstance(value, kind) else _WRONG


def _kind_name(kind: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind_name(one) for one in inner)
    if origin is typing.Literal:
        return ", ".join(map(repr, inner))
    if origin is tuple:
        return f"a tuple with {_kind_name(inner[0])} for each"
    names = {str: "text", Path: "a path", bool: "True or False", int: "a whole number", float: "a number"}
    return "nothing (None)" if kind is type(None) else names.get(kind, getattr(kind, "__name__", str(kind)))


def check_text(name: str, value: str | Path) -> None:
    """ValueError unless text or a path can be written to files and terminals, names in a path of at most 255 bytes."""
    try:
        parts = str(value).encode("utf-8").split(b"/")
    except UnicodeEncodeError:
        raise ValueError(
            f"{name} is {_shown(str(value))}, which is no UTF-8 text; choose a name without such bytes"
        ) from None
    if "\0" in str(value):
        raise ValueError(f"{name} is {_shown(str(value))}, which holds a NUL character; choose another name")
    if isinstance(value, Path) and max(map(len, parts)) > LONGEST_NAME:
        raise ValueError(
            f"{name} is {_shown(str(value))}, with a name of {max(map(len, parts))} bytes, at most {LONGEST_NAME} are "
            "possible; choose a shorter one"
        )


def check_name(what: str, name: Any) -> str:
    """The name of a policy, task or the like; ValueError unless it is text that can be printed and stored."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"the name of a {what} is {_shown(name)}, expected some text")
    if name != name.strip() or not name.isprintable() or len(name) > 200:
        raise ValueError(
            f"the name of a {what} is {_shown(name)}, expected at most 200 printable characters "
            "without spaces around them"
        )
    return name


def check_device(name: Any) -> str:
    """The device ``name``: ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``; ValueError unless torch has it."""
    if check_device_name(name) == "cpu":
        return "cpu"
    import torch

    if name == "mps":
        there = torch.backends.mps.is_available()
    else:
        there = torch.cuda.is_available() and int(name[5:] or 0) < torch.cuda.device_count()
    if not there:
        raise ValueError(f"device {name!r} was asked for and torch sees no such GPU; use --device cpu")
    return name


def check_device_name(name: Any) -> str:
    """The same without asking torch, which may be another machine's."""
    if not isinstance(name, str) or not re.fullmatch(r"cpu|cuda(:\d{1,3})?|mps", name):
        raise ValueError(f"device is {_shown(name)}, expected cpu, cuda, cuda:<number> or mps")
    return name


def _check_range(name: str, value: Any, low: float | None, high: float | None) -> None:
    if low is not None and value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{name} must be at most {high}, got {value}")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def expanded(place: str | Path) -> Path:
    """A path whose ``~`` is the home it stands for."""
    try:
        return Path(place).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{place} begins with the home of a user who is not known here; write the whole path"
        ) from None
