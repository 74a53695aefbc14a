"""What counts as success of an instruction when the position of a joint is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from real2sim.checks import check_finite

FARTHEST = 1e6
"""Of a joint, metres."""


@dataclass(frozen=True)
class Goal:
    """An instruction and, where one is known, the joint position that decides it."""

    instruction: str
    threshold: float | None = None
    """Joint position in metres; None: only the recorded outcome of the final frame is known."""
    above: bool = True
    """Success lies above the threshold (True) or below it."""

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_finite(f"the threshold of {self.instruction!r}", self.threshold, -FARTHEST, FARTHEST)

    @property
    def direction(self) -> float:
        """+1 where a larger joint position is better, -1 where a smaller one is."""
        return 1.0 if self.above else -1.0

    def reached(self, joint: np.ndarray) -> np.ndarray:
        """True for each joint position (metres, any shape) beyond the threshold."""
        if self.threshold is None:
            raise ValueError(f"{self.instruction!r} has no joint threshold; use the recorded outcome")
        return np.asarray(joint) > self.threshold if self.above else np.asarray(joint) < self.threshold


@dataclass(frozen=True)
class MeasuredGoals:
    """Goals that a measured joint position decides."""

    joint: str
    """Array (t,) of a dataset's episodes that holds the joint position, metres."""
    goals: tuple[Goal, ...]


def normal_instruction(instruction: str) -> str:
    """The instruction in lower case, with single spaces and without a final full stop."""
    return " ".join(instruction.lower().split()).removesuffix(".")


def goal_index(goals: tuple[Goal, ...], instruction: str) -> int:
    """Index of an instruction's goal, ignoring case and spacing; ValueError for an unknown one."""
    if not isinstance(instruction, str):
        raise ValueError(f"the judge was asked about the instruction {instruction!r}, expected text")
    wanted = normal_instruction(instruction)
    for index, goal in enumerate(goals):
        if normal_instruction(goal.instruction) == wanted:
            return index
    known = ", ".join(repr(goal.instruction) for goal in goals)
    raise ValueError(
        f"the judge was not trained on the instruction {instruction!r}, it knows {known}; "
        "train one that covers it"
    )
