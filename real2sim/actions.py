"""RT-1's action: 13 numbers in alphabetical order of their fields.

The fields are RT-1's; sorting them by name gives the order in which Vid2World's action-conditioned
weights expect them.  ``docs/actions.md`` says what each one means on each robot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from real2sim.robot import ActionNumber, Camera, Robot

FIELDS: Mapping[str, slice] = MappingProxyType(
    {
        "base_displacement_vector": slice(0, 2),
        "base_displacement_vertical_rotation": slice(2, 3),
        "gripper_closedness_action": slice(3, 4),
        "rotation_delta": slice(4, 7),
        "terminate_episode": slice(7, 10),
        "world_vector": slice(10, 13),
    }
)
"""Where each field lies in the vector."""

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "base_displacement_vector": ("x", "y"),
        "rotation_delta": ("x", "y", "z"),
        "terminate_episode": ("terminate", "move_arm", "move_base"),
        "world_vector": ("x", "y", "z"),
    }
)
"""Names of the numbers of a field that has several."""

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "base_displacement_vector": "m",
        "base_displacement_vertical_rotation": "rad",
        "gripper_closedness_action": "",
        "rotation_delta": "rad",
        "terminate_episode": "",
        "world_vector": "m",
    }
)

WIDTH = 13
TERMINATE, MOVE_ARM, MOVE_BASE = range(3)
"""Meaning of the three places of the one-hot ``terminate_episode``."""

Range = tuple[float, float]


@dataclass(frozen=True)
class ActionBounds:
    """Smallest and largest value of each field; the defaults are those RT-1 was trained with."""

    world_vector: Range = (-1.0, 1.0)
    """Hand displacement per step, metres."""
    rotation_delta: Range = (-pi / 2, pi / 2)
    """Hand rotation per step, radians."""
    gripper_closedness_action: Range = (-1.0, 1.0)
    """+1 closes, -1 opens."""
    base_displacement_vector: Range = (-1.0, 1.0)
    """Base displacement per step, metres."""
    base_displacement_vertical_rotation: Range = (-pi, pi)
    """Base rotation per step, radians."""
    terminate_episode: ClassVar[Range] = (0.0, 1.0)

    def __post_init__(self) -> None:
        for name in FIELDS:
            low, high = getattr(self, name)
            if not -np.inf < low < high < np.inf:
                raise ValueError(
                    f"the bounds of {name} are ({low}, {high}); the first must be the smaller one"
                )

    @classmethod
    def of_robot(cls, robot: Robot) -> ActionBounds:
        """The bounds of a robot that has RT-1's action; the numbers of a field must have the same ones."""
        fields = {}
        for name, where in FIELDS.items():
            bounds = {(number.low, number.high) for number in robot.action[where]}
            if len(bounds) > 1:
                raise ValueError(
                    f"robot {robot.name!r}: the numbers of {name} have different bounds; RT-1's tokens need the same"
                )
            if name != "terminate_episode":
                (fields[name],) = bounds
        return cls(**fields)

    @property
    def low(self) -> np.ndarray:
        """Lower bounds (13,) float32."""
        return pack({name: [getattr(self, name)[0]] * _width(name) for name in FIELDS})

    @property
    def high(self) -> np.ndarray:
        """Upper bounds (13,) float32."""
        return pack({name: [getattr(self, name)[1]] * _width(name) for name in FIELDS})


def pack(fields: Mapping[str, Sequence[float] | np.ndarray]) -> np.ndarray:
    """Actions (... 13) float32 from named fields (... width); a field that is left out is zero."""
    if not isinstance(fields, Mapping):
        raise ValueError(
            f"fields are of type {type(fields).__name__}, expected a mapping such as {{'world_vector': [0, 0.03, 0]}}"
        )
    unknown = sorted(map(str, set(fields) - set(FIELDS)))
    if unknown:
        raise ValueError(f"unknown action field {unknown[0]!r}; the fields are {', '.join(FIELDS)}")
    arrays: dict[str, np.ndarray] = {}
    for name, value in fields.items():
        try:
            arrays[name] = np.asarray(value, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{name} is no array of numbers ({error}); give {_width(name)} of them"
            ) from error
    for name, array in arrays.items():
        if array.ndim == 0 or array.shape[-1] != _width(name):
            raise ValueError(f"{name} has shape {array.shape}; its last dimension must be {_width(name)}")
    try:
        leading = np.broadcast_shapes(*(array.shape[:-1] for array in arrays.values()))
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(
            f"fields have shapes that do not go together: {shapes}; give each the same steps"
        ) from error
    actions = np.zeros((*leading, WIDTH), dtype=np.float32)
    for name, array in arrays.items():
        actions[..., FIELDS[name]] = array
    return actions


def unpack(actions: np.ndarray) -> dict[str, np.ndarray]:
    """Named fields (... width) of actions (... 13); copies, so the caller may change them."""
    actions = np.asarray(actions)
    if actions.ndim == 0 or actions.shape[-1] != WIDTH:
        raise ValueError(f"actions have shape {actions.shape}; their last dimension must be {WIDTH}")
    return {name: actions[..., where].copy() for name, where in FIELDS.items()}


def rt1_robot(
    name: str = "rt1",
    bounds: ActionBounds | None = None,
    used_fields: Sequence[str] = tuple(FIELDS),
    control_hz: float = 3.0,
    image_size: tuple[int, int] = (256, 320),
) -> Robot:
    """A robot with RT-1's 13 action numbers, one camera and no state, e.g. the Google robot (the defaults)."""
    bounds = bounds or ActionBounds()
    numbers = []
    for field, where in FIELDS.items():
        low, high = getattr(bounds, field)
        parts = PARTS[field] if where.stop - where.start > 1 else ("",)
        for part in parts:
            full = f"{field}.{part}" if part else field
            numbers.append(ActionNumber(full, low, high, UNITS[field], used=field in used_fields))
    return Robot(
        name=name,
        action=tuple(numbers),
        action_kind="delta",
        terminate=tuple(f"terminate_episode.{part}" for part in PARTS["terminate_episode"]),
        control_hz=control_hz,
        cameras=(Camera("image", *image_size),),
    )


def _width(name: str) -> int:
    return FIELDS[name].stop - FIELDS[name].start
