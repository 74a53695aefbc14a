"""The address of a policy server and the options that can follow it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from real2sim.checks import LARGEST_COUNT, check_finite, check_whole
from real2sim.policies.conventions import find_convention
from real2sim.policies.observation_mapping import read_images, read_size, read_state
from real2sim.policies.openpi import find_preset
from real2sim.wording import without_password

WAITING = ("answer_within", "patience")
"""Options that do not change what a policy does."""
SCHEMES = ("ws", "wss", "zmq")
NEEDS_EXTRA = "remote policies need the extra 'remote': pip install 'real2sim[remote]'"
"""What is said where the packages that talk to servers are missing."""


@dataclass(frozen=True)
class RemoteOptions:
    """How a policy server is asked, and what its numbers mean."""

    execute: int | Literal["frame"] | None = "frame"
    """How many actions of an answer are executed before the server is asked again; ``"frame"`` for those of one
    frame, None for all."""
    preset: str | None = None
    """``droid``, ``libero`` or ``aloha``: names, sizes and actions of openpi's policies for that robot."""
    images: str | None = None
    """Cameras and the names under which they are shown: ``front:KEY;wrist:KEY``."""
    state: str | None = None
    """Names and places of state numbers: ``KEY:0-6;KEY:7``, or ``KEY`` for all."""
    action: str | None = None
    """GR00T: names of action parts and their places in the robot's action: ``single_arm:0-4;gripper:5``."""
    image_key: str | None = None
    """Name of the first camera's frame."""
    prompt_key: str | None = None
    """Name of the instruction."""
    size: str | None = None
    """Height and width that frames are fitted into with black bars: ``224`` or ``180x320``; ``as-is`` for none."""
    layout: str | None = None
    """``hwc`` or ``chw``: where the colours of a frame stand."""
    convention: str | None = None
    """What the numbers of an action mean (docs/actions.md)."""
    action_names: str | None = None
    """Names of the server's action numbers, in its order: ``shoulder_pan.pos;shoulder_lift.pos;...``."""
    outside: Literal["error", "clip"] = "error"
    """What becomes of numbers outside the robot's bounds: ``clip`` sets them to the bound."""
    answer_within: float = 60.0
    """Seconds to wait for an answer; then it is asked for once more, for a first call may compile."""
    patience: float = 30.0
    """Seconds to look for a server that is lost."""

    def __post_init__(self) -> None:
        if self.execute is not None and self.execute != "frame":
            check_whole("execute", self.execute, 1)
        for name in WAITING:
            check_finite(name, getattr(self, name), 0, 86_400)
        if not self.answer_within:
            raise ValueError("answer_within must be more than 0 seconds")
        for name, check in CHECKS.items():
            if getattr(self, name) is not None:
                check(getattr(self, name))
        if self.image_key is not None and (self.images is not None or self.preset is not None):
            raise ValueError(
                "image_key names the first camera alone; with preset or images give images=CAMERA:KEY"
            )

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the server's action numbers, where they are given."""
        return None if self.action_names is None else tuple(self.action_names.split(";"))


def _one_of(name: str, *allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{name} is {text!r}; expected {' or '.join(allowed)}")
        return text

    return check


def _names(text: str) -> list[str]:
    names = text.split(";")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if not all(names):
        raise ValueError("action_names: a name is empty; write them with ; between them")
    if twice is not None:
        raise ValueError(f"action_names: {twice!r} is named twice; give each name once")
    return names


CHECKS: dict[str, Callable[[str], Any]] = {
    "preset": find_preset,
    "images": read_images,
    "state": read_state,
    "action": read_state,
    "size": read_size,
    "layout": _one_of("layout", "hwc", "chw"),
    "convention": find_convention,
    "action_names": _names,
    "outside": _one_of("outside", "error", "clip"),
}


def _seconds(name: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        seconds = check_finite(name, _number(name, text, float, "a number of seconds"), 0, 86_400)
        if name == "answer_within" and not seconds:
            raise ValueError("answer_within must be more than 0 seconds")
        return seconds

    return read


def _execute(text: str) -> int | str | None:
    if text in ("all", "frame"):
        return None if text == "all" else text
    number = _number("execute", text, int, "a whole number, frame or all")
    return check_whole("execute", number, 1, LARGEST_COUNT)


def _number(name: str, text: str, kind: Callable[[str], Any], expected: str) -> Any:
    try:
        if "_" in text or not text.isascii():
            raise ValueError
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, expected {expected}") from None


READERS: dict[str, Callable[[str], Any]] = {
    "execute": _execute,
    "preset": str,
    "images": str,
    "state": str,
    "action": str,
    "image_key": str,
    "prompt_key": str,
    "size": str,
    "layout": str,
    "convention": str,
    "action_names": str,
    "outside": str,
    "answer_within": _seconds("answer_within"),
    "patience": _seconds("patience"),
}
"""How the options are written in an address."""


def read_address(written: str) -> tuple[str, dict[str, Any]]:
    """The address proper, and the options that follow it after ``#``."""
    shown = without_password(written)
    address, _, tail = written.partition("#")
    options: dict[str, Any] = {}
    for option in filter(None, tail.split(",")):
        name, equals, value = option.partition("=")
        if name not in READERS or not equals:
            raise ValueError(
                f"{shown!r}: {_option(option)} is no option of a policy server; there are {', '.join(READERS)}, "
                "e.g. ws://127.0.0.1:8000#execute=8,patience=60"
            )
        if name in options:
            raise ValueError(f"{shown!r} gives {name} twice; give it once")
        if not value:
            raise ValueError(f"{shown!r}: {name} is empty; leave it out or give it a value")
        try:
            options[name] = READERS[name](value)
            if name in CHECKS:
                CHECKS[name](value)
        except ValueError as error:
            raise ValueError(f"{shown!r}: {error}") from None
    check_address(address)
    return address, options


def _option(option: str) -> str:
    """An option as it is shown; what stands before an @ may be the end of a password with a # in it."""
    return "what stands after # (in a password it is written %23)" if "@" in option else repr(option)


def check_address(address: str) -> None:
    """ValueError unless it is ``ws://host``, ``wss://host`` or ``zmq://host:port``."""
    wrong = _wrong(address)
    if wrong:
        example = "zmq://127.0.0.1:5555" if address.startswith("zmq:") else "ws://127.0.0.1:8000"
        raise ValueError(f"{without_password(address)!r} is not an address such as {example}: {wrong}")


def _wrong(address: str) -> str:
    """What is wrong with an address, or nothing."""
    if address.partition("://")[0] not in SCHEMES:
        return f"it begins with none of {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
    place = address.partition("://")[2]
    place = re.split("[/?]", place)[0].rpartition("@")[2]
    if place.count(":") > 1 and not place.startswith("["):
        return "an IPv6 address stands in brackets, as in [::1]:8000; a port after one colon"
    if place.startswith("[") and "]" not in place:
        return "a bracket is not closed"
    port = re.sub(r"^\[[^]]*\]|^[^:]*", "", place)
    if port.removeprefix(":") and not re.fullmatch(":[0-9]{1,9}", port):
        return "the port is no whole number"
    if port.removeprefix(":") and not 0 < int(port[1:]) <= 65_535:
        return f"the port is {port[1:]}, beyond 65535" if int(port[1:]) else "the port is 0"
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        if not host:
            return "there is no host"
        if any(letter.isspace() or letter == "*" for letter in host):
            return "the host holds a space or an asterisk"
        host.encode("idna")
    except ValueError:
        return "the host is none"
    if parts.username is not None and parts.password is None:
        return "it names a user without a password; write user:password@"
    if parts.scheme == "zmq":
        # ZMQ knows hosts and ports, and nothing before or behind them.
        if parts.port is None:
            return "there is no port"
        if parts.path or parts.query or "@" in parts.netloc:
            return "something stands before the host or behind the port"
    return ""
