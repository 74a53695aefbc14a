"""What ``suite.json`` says: the tasks of a suite, and its robot where it has RT-1's action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from real2sim.actions import FIELDS, Range
from real2sim.built_in import DEFAULT_HORIZON
from real2sim.checks import check_finite, check_kinds, check_name, check_whole
from real2sim.robot import SLOWEST_HZ

MOST_STEPS = 100_000
"""Of an episode."""


@dataclass(frozen=True)
class Task:
    """A task of the robot: its instruction and horizon."""

    name: str
    instruction: str
    horizon: int = DEFAULT_HORIZON
    """Steps after which an episode is truncated."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_name("task", self.name)
        if not self.instruction.strip():
            raise ValueError(f"task {self.name!r}: the instruction is empty; say what the robot is to do")
        check_whole(f"task {self.name!r}: horizon", self.horizon, 1, MOST_STEPS)


@dataclass(frozen=True)
class SuiteConfig:
    """Tasks, and the robot where it has RT-1's action; any other robot is described by ``robot.json`` beside it, and
    the four fields on it are left out."""

    name: str
    tasks: tuple[Task, ...]
    image_size: tuple[int, int] | None = None
    """Height and width of a camera frame in pixels; 64 x 64 by default."""
    control_hz: float | None = None
    """Actions per second; 3 by default."""
    used_fields: tuple[str, ...] | None = None
    """RT-1's action fields that this robot obeys, all by default; the others are zero before the world sees them."""
    limits: Mapping[str, Range] = field(default_factory=dict)
    """Smallest and largest value of action fields that differ from RT-1's."""
    real_source: str = "real robot"
    """Where the real rates come from."""
    physics: str | None = None
    """Physics that plays the real robot (`real2sim.built_in.PHYSICS`); by default that of the suite's name."""

    def __post_init__(self) -> None:
        check_name("suite", self.name)
        if self.image_size is not None:
            for side in self.image_size:
                check_whole(f"suite {self.name!r}: image_size", side, 1, 4096)
        if self.control_hz is not None:
            check_finite(f"suite {self.name!r}: control_hz", self.control_hz, SLOWEST_HZ, 10_000)
        unknown = sorted({*(self.used_fields or ()), *self.limits} - set(FIELDS))
        if unknown:
            raise ValueError(
                f"suite {self.name!r}: unknown action field {unknown[0]!r}; there are {', '.join(FIELDS)}"
            )
        for name, (low, high) in self.limits.items():
            if not -np.inf < low < high < np.inf:
                raise ValueError(
                    f"suite {self.name!r}: the limits of {name} are {low} and {high}; the smaller one comes first"
                )
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"suite {self.name!r}: expected tasks with different names, found {names}")
