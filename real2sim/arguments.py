"""From the words of a command line to the configuration that a command reads."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from real2sim.checks import check_options
from real2sim.wording import parsing_complaint

Config = TypeVar("Config")
LOG = logging.getLogger(__name__)


def parse(config: type[Config], name: str, arguments: Sequence[str]) -> Config:
    """The configuration; what cannot be understood is a ValueError of one sentence."""
    import tyro

    complaint = io.StringIO()
    _refuse_empty_paths(config, name, arguments)
    _warn_of_second_lists(config, arguments)
    try:
        with contextlib.redirect_stderr(complaint):
            found = tyro.cli(config, prog=f"real2sim {name}", args=list(arguments))
    except SystemExit as ended:
        if not ended.code:
            raise
        said = _by_name(parsing_complaint(complaint.getvalue()), config, name)
        raise ValueError(f"{said}; see real2sim {name} --help") from None
    try:
        check_options(found)
    except ValueError as error:
        raise ValueError(f"{error}; see real2sim {name} --help") from None
    return found


def _by_name(said: str, config: type, name: str) -> str:
    """What is missing, by the names of options and words instead of their types; what is no number, in plain words."""
    for python, plain in (
        (r"invalid literal for int\(\) with base 10: ", "whole number"),
        ("could not convert string to float: ", "number"),
    ):
        said = re.sub(f"{python}('[^']*')", rf"\1 is no {plain}", said)
    said = re.sub(
        r"Could not find valid parse for arguments: \[(.*?)\]\.?",
        r"\1 is not what it takes",
        said,
    )
    start = f"Missing from real2sim {name}: "
    if not said.startswith(start):
        return said
    options = re.findall(r"--[^\s,|]+", said)
    first = next((field for field, kind in _fields(config) if "Positional" in str(kind)), "")
    words = [first.upper(), *options] if first and not said[len(start) :].startswith("--") else options
    return f"{' and '.join(words)} {'is' if len(words) == 1 else 'are'} missing"


def _refuse_empty_paths(config: type, name: str, arguments: Sequence[str]) -> None:
    """An empty word is what is left of a shell variable that is not set; as a path it would be the working folder."""
    paths, first_is_path = set(), False
    for field, kind in _fields(config):
        if "Path" in str(kind):
            paths.add(field.replace("_", "-"))
            first_is_path = first_is_path or "Positional" in str(kind)
    option = None
    for word in arguments:
        value = word
        if word.startswith("--"):
            option, equals, value = word[2:].partition("=")
            value = value if equals else word
        path = first_is_path if option is None else option.rpartition(".")[2].replace("_", "-") in paths
        if not value and path:
            said = "a path" if option is None else f"--{option}"
            raise ValueError(f"{said} is empty (is a shell variable unset?); see real2sim {name} --help")


def _warn_of_second_lists(config: type, arguments: Sequence[str]) -> None:
    """Of an option that takes several values a second one replaces the first; that is said."""
    lists = {field.replace("_", "-") for field, kind in _fields(config) if "..." in str(kind)}
    given = [word[2:].partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")]
    for option in dict.fromkeys(given):
        if option.rpartition(".")[2] in lists and given.count(option) > 1:
            LOG.warning(
                "--%s is given more than once and the last one counts; write all values behind one", option
            )


def _fields(config: type) -> Iterator[tuple[str, Any]]:
    """Names and types of the fields of a configuration and of those within it."""
    for name, kind in typing.get_type_hints(config, include_extras=True).items():
        inner = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            yield from _fields(inner)
        else:
            yield name, kind
