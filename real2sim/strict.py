"""Strict reading of JSON values into configurations and rows: pydantic checks them, one sentence says what is wrong.

Unknown fields, wrong types, NaN and numbers of the wrong sign or size are refused; nothing is converted silently.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from real2sim.wording import did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Config = TypeVar("Config")


def from_values(cls: type[Config], values: Any, where: str) -> Config:
    """The dataclass ``cls`` from JSON values: lists become tuples, nested dataclasses are built.

    Raises ValueError naming ``where``, the field, what was found and what is allowed.
    """
    from pydantic import ValidationError

    try:
        checked = _reader(typing.cast(Any, cls)).validate_python(values)
    except ValidationError as error:
        raise ValueError(_sentence(error, cls, values, where)) from None
    return _build(cls, checked, where)


def check_fields(kind: type, values: Any, where: str) -> Any:
    """``values`` (of a TypedDict ``kind``), once they have its fields and types; further fields may stand there."""
    from pydantic import ValidationError

    try:
        return _fields_reader(kind).validate_python(values)
    except ValidationError as error:
        raise ValueError(_sentence(error, kind, values, where)) from None


def check_line(kind: type, line: bytes, where: str) -> dict[str, Any]:
    """The same for one line of JSON, read at once."""
    from pydantic import ValidationError

    try:
        found: dict[str, Any] = _fields_reader(kind).validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            reason = first["ctx"]["error"]
            raise ValueError(f"{where} is not valid JSON ({reason}); was the file edited?") from None
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        sentence = _sentence(error, kind, values, where)
        raise ValueError(sentence if ";" in sentence else f"{sentence}; was the file edited?") from None
    return found


@functools.cache
def _fields_reader(kind: type) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter
    from typing_extensions import TypedDict

    hints = typing.get_type_hints(kind, include_extras=True)
    make: Any = TypedDict
    rows = make(kind.__name__, hints, total=getattr(kind, "__total__", True))
    rows.__pydantic_config__ = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    return TypeAdapter(rows)


@functools.cache
def _reader(cls: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(_shape(cls))


@functools.cache
def _shape(cls: type) -> Any:
    """The fields of a dataclass as a mapping that pydantic can check."""
    from pydantic import ConfigDict
    from typing_extensions import NotRequired, TypedDict

    kinds = typing.get_type_hints(cls, include_extras=True)
    fields = {}
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        kind = _kind(kinds[field.name])
        fields[field.name] = kind if required else NotRequired[kind]
    make: Any = TypedDict
    shape = make(cls.__name__, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return shape


def _kind(kind: Any) -> Any:
    """The type of a field as JSON holds it: lists for tuples, mappings for dataclasses, text for paths."""
    from pydantic import AfterValidator, Strict

    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return typing.Annotated[tuple([_kind(arguments[0]), *arguments[1:]])]  # type: ignore[return-value]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_kind(argument) for argument in arguments)]  # noqa: UP007 - of a tuple
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _shape(kind)
    if origin is tuple:
        inner = tuple(item if item is Ellipsis else _kind(item) for item in arguments)
        return typing.Annotated[tuple[inner], Strict(False)]  # type: ignore[valid-type]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[arguments[0], _kind(arguments[1])]  # type: ignore[misc,valid-type]
    return typing.Annotated[str, AfterValidator(_encodable)] if kind in (str, Path) else kind


def _encodable(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("expected text without lone surrogates")
    return text


@functools.cache
def _hints(cls: type) -> Mapping[str, Any]:
    """Types of the fields of a dataclass; to find them costs more than to check the values."""
    return typing.get_type_hints(cls)


def _build(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    kinds = _hints(typing.cast(Any, cls))
    arguments = {name: _made(kinds[name], value, _inside(where, name)) for name, value in values.items()}
    try:
        return cls(**arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _made(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        present = [argument for argument in arguments if argument is not type(None)]
        return value if value is None or len(present) > 1 else _made(present[0], value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, where)
    if origin is tuple:
        inner = arguments[:1] * len(value) if Ellipsis in arguments else arguments
        return tuple(_made(item, part, where) for item, part in zip(inner, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _made(arguments[1], item, _inside(where, key)) for key, item in value.items()}
    return Path(value) if kind is Path else value


def _inside(where: str, name: str) -> str:
    """The place of a field: the file, then names with dots between them."""
    return f"{where}.{name}" if ", field " in where else f"{where}, field {name}"


def _sentence(error: ValidationError, cls: type, values: Any, where: str) -> str:
    """What the first complaint says."""
    first = error.errors(include_url=False)[0]
    place, found = [], values
    for part in first["loc"]:
        # A place may end with the name of a type, where a field allows several.
        named = isinstance(found, Mapping) and part in found
        numbered = isinstance(found, list | tuple) and isinstance(part, int) and part < len(found)
        if not named and not numbered:
            break
        place.append(str(part))
        found = found[part]
    field = ".".join(place)
    if first["type"] == "extra_forbidden":
        owner, last = _owner(cls, place[:-1]), place[-1]
        known = [item.name for item in dataclasses.fields(owner)] if dataclasses.is_dataclass(owner) else []
        near = did_you_mean(last, known)
        within = f" in {'.'.join(place[:-1])}" if place[:-1] else ""
        return f"{where}: unknown field {last!r}{within}{near}; {owner.__name__} has {', '.join(known) or 'none'}"
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return f"{where}: field {field} is {as_json(found)}, expected a value at place {first['loc'][-1]}"
    if first["type"] == "missing":
        owner = _owner(cls, place)
        within = f" in {field}" if field else ""
        return f"{where}: field {first['loc'][-1]!r} of {owner.__name__} is missing{within}"
    expected = _expected(first)
    if not field:
        shown = "an object" if dataclasses.is_dataclass(cls) or isinstance(values, Mapping) else expected
        return f"{where}: expected {shown} with the fields of {cls.__name__}, found {as_json(values)}"
    return f"{where}: field {field} is {as_json(found)}, expected {expected}"


def _expected(complaint: Any) -> str:
    """What should stand there, in the words of JSON."""
    if complaint["type"] in ("too_long", "too_short"):
        limits = complaint["ctx"]
        most = complaint["type"] == "too_long"
        count = limits["max_length"] if most else limits["min_length"]
        return f"at {'most' if most else 'least'} {count} values, not {limits['actual_length']}"
    if complaint["type"] == "string_too_short":
        return "some text"
    said = str(complaint["msg"]).removeprefix("Value error, expected ")
    for words, ours in (
        ("Input should be ", ""), ("Input should have ", ""), ("a valid dictionary", "an object"),
        ("a valid tuple", "a list"), ("a valid list", "a list"),
    ):  # fmt: skip
        said = said.replace(words, ours)
    return said


def _owner(cls: type, place: list[str]) -> type:
    """The dataclass that holds what stands at ``place``."""
    kind: Any = cls
    for part in place:
        if part.isdigit():
            continue
        kind = typing.get_type_hints(kind).get(part, cls) if isinstance(kind, type) else kind
        while typing.get_args(kind):
            inner = [item for item in typing.get_args(kind) if item not in (type(None), Ellipsis)]
            kind = next((item for item in inner if dataclasses.is_dataclass(item)), inner[-1])
    return kind if isinstance(kind, type) else cls


def as_json(value: Any) -> str:
    """A value as JSON writes it, cut to a readable length."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    if isinstance(value, Mapping):
        return "an object" if len(text) > 60 else text
    return text if len(text) <= 60 else f"{text[:57]}..."
