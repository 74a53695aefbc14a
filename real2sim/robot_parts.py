"""What a robot consists of: its action and state numbers, and its cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

from real2sim.checks import check_kinds

LARGEST_SIDE = 4096
"""Pixels of a side of a camera's frames."""

LARGEST_BOUND, SMALLEST_RANGE = 1e12, 1e-12
"""Of action numbers, which are float32."""


@dataclass(frozen=True)
class ActionNumber:
    """One number of an action."""

    name: str
    """As in the dataset, e.g. ``"shoulder_pan.pos"`` or ``"world_vector.x"``."""
    low: float = -1.0
    """Smallest value that is allowed."""
    high: float = 1.0
    """Largest value that is allowed."""
    unit: str = ""
    """E.g. ``"deg"``, ``"rad"``, ``"m"``; empty for numbers without one."""
    used: bool = True
    """False for a number that the layout has and this robot ignores; the world is given 0 there."""
    binary: bool = False
    """True for a number that is 0 or 1, such as a key that is held."""

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.name:
            raise ValueError("an action number has no name; give each one the name it has in the dataset")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"action number {self.name!r} has the bounds {self.low} to {self.high}; expected two finite "
                "numbers, the smaller one first"
            )
        if max(abs(self.low), abs(self.high)) > LARGEST_BOUND or self.high - self.low < SMALLEST_RANGE:
            raise ValueError(
                f"action number {self.name!r} has the bounds {self.low} to {self.high}; expected numbers up to "
                f"{LARGEST_BOUND:g}, at least {SMALLEST_RANGE:g} apart, in a unit that suits them"
            )


@dataclass(frozen=True)
class StateNumber:
    """One number of the proprioceptive state."""

    name: str
    unit: str = ""

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.name:
            raise ValueError("a state number has no name; give each one the name it has in the dataset")


@dataclass(frozen=True)
class Camera:
    """One camera; its frames are a tile of the canvas."""

    name: str
    height: int
    width: int

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.name:
            raise ValueError("a camera has no name; give each one the name it has in the dataset")
        if not (1 <= self.height <= LARGEST_SIDE and 1 <= self.width <= LARGEST_SIDE):
            raise ValueError(
                f"camera {self.name!r} has frames of {self.height} x {self.width} pixels; "
                f"expected sides between 1 and {LARGEST_SIDE}"
            )
