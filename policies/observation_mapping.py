"""Under which names a policy server is shown cameras, state and instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from real2sim.episodes.images import fitted
from real2sim.policies.policy import Observation
from real2sim.policies.servers.policy_wire import PROMPT_KEY
from real2sim.robot import Robot

NESTED = re.compile(r"([^\[\]]+)\[([^\[\]]+)\]")
"""A name inside a map: ``images[cam_high]``."""
EXAMPLE = "images=front:observation/image;wrist:observation/wrist_image,state=observation/state:0-7"


@dataclass(frozen=True)
class ImageItem:
    """One camera and the name under which it is shown."""

    camera: str
    key: str


@dataclass(frozen=True)
class StateItem:
    """Some numbers of the state and the name under which they are shown."""

    key: str
    numbers: tuple[int, ...] | None = None
    """Places in the robot's state; None for all."""


@dataclass(frozen=True)
class ObservationMapping:
    """What a server is shown of an observation, and under which names."""

    images: tuple[ImageItem, ...]
    state: tuple[StateItem, ...] = ()
    prompt_key: str = PROMPT_KEY
    size: tuple[int, int] | None = None
    """Height and width that frames are fitted into, with black bars; None as they are."""
    channels_first: bool = False
    """Frames as (3 h w) instead of (h w 3)."""

    def __post_init__(self) -> None:
        keys = [*(item.key for item in self.images), *(item.key for item in self.state), self.prompt_key]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"two parts of the observation are called {twice[0]!r}; give each another name")

    def check(self, robot: Robot) -> ObservationMapping:
        """The same; a ValueError names the camera or state number that the robot does not have."""
        for item in self.images:
            robot.camera(item.camera)
        if self.state and robot.state_from is None:
            raise ValueError(
                f"{self.state[0].key!r} is to hold the robot's state, robot {robot.name!r} has none; record the suite "
                "with its state (docs/robot.md)"
            )
        for state in self.state:
            beyond = [place for place in state.numbers or () if place >= len(robot.state)]
            if beyond:
                raise ValueError(
                    f"{state.key!r} is to hold state number {beyond[0]}, robot {robot.name!r} has {len(robot.state)}: "
                    f"{', '.join(robot.state_names)}"
                )
        return self

    def message(self, observation: Observation, instruction: str) -> dict[str, Any]:
        """What a server is sent for an observation of one lane: frames uint8, state float32, the instruction."""
        message: dict[str, Any] = {}
        for item in self.images:
            frame = observation.images[item.camera][0]
            frame = frame if self.size is None else fitted(frame, self.size)
            put(
                message,
                item.key,
                np.ascontiguousarray(frame.transpose(2, 0, 1)) if self.channels_first else frame,
            )
        for state in self.state:
            if observation.state is None:
                raise ValueError(
                    f"there is no state for {state.key!r}; the suite and its world must give one"
                )
            numbers = observation.state[0].astype(np.float32)
            put(message, state.key, numbers if state.numbers is None else numbers[list(state.numbers)])
        put(message, self.prompt_key, instruction)
        return message


def put(message: dict[str, Any], key: str, value: Any) -> None:
    """Set a named value; ``outer[inner]`` sets it in a map."""
    nested = NESTED.fullmatch(key)
    if nested is None:
        message[key] = value
    else:
        message.setdefault(nested[1], {})[nested[2]] = value


def leaves(message: Mapping[str, Any], outer: str = "") -> dict[str, Any]:
    """Values by name, those inside maps as ``outer[inner]``."""
    found: dict[str, Any] = {}
    for key, value in message.items():
        name = f"{outer}[{key}]" if outer else key
        found |= leaves(value, name) if isinstance(value, dict) else {name: value}
    return found


def read_images(text: str) -> tuple[ImageItem, ...]:
    """Cameras and names, written ``front:KEY;wrist:KEY``."""
    items = []
    for part in text.split(";"):
        camera, colon, key = part.partition(":")
        if not (camera and colon and key):
            raise ValueError(f"images: {part!r} is not CAMERA:KEY; expected e.g. {EXAMPLE}")
        items.append(ImageItem(camera, key))
    _once("images", [item.key for item in items])
    return tuple(items)


def read_state(text: str) -> tuple[StateItem, ...]:
    """Names and places of state numbers, written ``KEY:0-6;KEY:7``, or ``KEY`` for all."""
    items = []
    for part in text.split(";"):
        key, colon, places = part.rpartition(":") if ":" in part else (part, "", "")
        found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", places) if colon else None
        if not key or (colon and found is None):
            raise ValueError(f"state: {part!r} is not KEY:FIRST-LAST; expected e.g. {EXAMPLE}")
        if found is None:
            items.append(StateItem(key))
            continue
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError(f"state: {part!r} ends before it begins; expected e.g. {EXAMPLE}")
        items.append(StateItem(key, tuple(range(first, last + 1))))
    _once("state", [item.key for item in items])
    return tuple(items)


def _once(what: str, keys: list[str]) -> None:
    """A second value of the same name would replace the first."""
    twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
    if twice is not None:
        raise ValueError(f"{what}: {twice!r} is named twice; give each name once, e.g. {EXAMPLE}")


def read_size(text: str) -> tuple[int, int] | None:
    """Height and width, written ``224`` or ``180x320``; None for ``as-is``."""
    if text == "as-is":
        return None
    found = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    size = (0, 0) if found is None else (int(found[1]), int(found[2] or found[1]))
    if not all(1 <= side <= 4096 for side in size):
        raise ValueError(f"size is {text!r}; expected a height and width such as 224 or 180x320, or as-is")
    return size
