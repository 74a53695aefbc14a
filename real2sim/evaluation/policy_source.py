"""A policy that can be loaded, before it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from real2sim.robot import Robot
from real2sim.simulation.contracts import Policy, Requirements
from real2sim.simulation.loop import Job
from real2sim.simulation.suite import Start

PolicyMaker = Callable[[Sequence[Job]], Policy]
"""Gives the policy for a batch of episodes; a loaded network may be given again and again."""


@dataclass(frozen=True)
class PolicySource:
    """A policy that can be loaded: what rows call it, where it comes from, and how to get it."""

    name: str
    family: str
    """The training run it comes from; checkpoints of one run share it."""
    kind: str
    """``"rt1"``, ``"imitation"``, ``"replay"``, ``"random"``, ``"remote"`` or ``"python"``."""
    fingerprint: str
    """Changes when the weights, recordings or source do."""
    tasks: tuple[str, ...]
    """The suite's tasks that it can be asked for."""
    load: Callable[[str], PolicyMaker]
    """Loads it onto a device such as ``"cpu"``."""
    training: Path | None = None
    """Folder of the training run, where the family is named after it."""
    requires: Requirements | None = None
    """What it needs of the suite's robot, where it says so."""
    robot: Robot | None = None
    """The robot it was trained on, where its folder has a ``robot.json``."""
    steps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Steps of its episodes by task and start, where they do not last as long as the task: recordings end."""

    def lasting(self, start: Start) -> Start:
        """The start with as many steps as an episode of this policy takes."""
        steps = self.steps.get((start.task.name, start.id))
        return start if steps is None else replace(start, task=replace(start.task, horizon=steps))
