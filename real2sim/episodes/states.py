"""Recorded states of a robot, and of what it moves, read by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from real2sim.episodes.npz import read_npz
from real2sim.robot import read_robot


def state_names(file: Path) -> list[str]:
    """Names of the numbers of an episode's ``state``: its own ``state_names``, else those of the folder's robot.json.

    Raises ValueError if nothing says what they are.
    """
    rows = read_npz(file, (), ("state_names",))
    if "state_names" in rows:
        return [str(name) for name in rows["state_names"]]
    robot = read_robot(file.parent)
    if robot is None or not robot.state:
        raise ValueError(
            f"{file.parent}: nothing says what the numbers of the state are; expected arrays state_names in the "
            "episodes or a robot.json with a state"
        )
    return list(robot.state_names)


def read_states(files: Sequence[Path], names: Sequence[str], frames: int | None = None) -> np.ndarray:
    """The numbers ``names`` at the first ``frames`` frames (all for None) of equally long episodes, float32 (n t m).

    Raises ValueError if the episodes do not measure one of the names.
    """
    found = state_names(files[0])
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{files[0]}: the recorded state has no number {missing[0]!r}; it has {', '.join(found)}"
        )
    columns = [found.index(name) for name in names]
    states = [read_npz(file, ("state",))["state"][:frames, columns] for file in files]
    return np.stack(states).astype(np.float32)
