"""Recorded states of a robot, and of what it moves, read by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from real2sim.episodes.npz import read_npz
from real2sim.robot import read_robot

BETWEEN = "between_"
"""Before the name of an array: the same at each of a frame's K commands, (t K m); [i, 0] is at frame i itself."""


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


def object_names(file: Path) -> list[str]:
    """Names of the numbers of an episode's ``environment_state``, what is known of objects; none where it has none."""
    return [str(name) for name in read_npz(file, (), ("environment_names",)).get("environment_names", ())]


def measured_at(file: Path, episode: Mapping[str, np.ndarray], frame: int) -> dict[str, float]:
    """What was measured of the robot and of objects at one frame of an episode, by name; empty where nothing was."""
    found: dict[str, float] = {}
    if "state" in episode:
        found |= dict(zip(state_names(file), map(float, episode["state"][frame]), strict=True))
    if "environment_state" in episode:
        found |= dict(zip(object_names(file), map(float, episode["environment_state"][frame]), strict=False))
    return found


def episode_states(file: Path, names: Sequence[str], *, between: bool = False) -> np.ndarray:
    """The numbers ``names`` at each frame of an episode, the robot's or those of objects, float32 (t m); with
    ``between`` at each of the K commands of a frame, (t K m).

    Raises ValueError if the episode does not measure one of the names.
    """
    robot, objects = state_names(file), object_names(file)
    missing = [name for name in names if name not in robot + objects]
    if missing:
        raise ValueError(
            f"{file}: the recorded state has no number {missing[0]!r}; it has {', '.join(robot + objects)}"
        )
    columns = [(robot + objects).index(name) for name in names]
    arrays = ("state", "environment_state") if max(columns) >= len(robot) else ("state",)
    episode = read_npz(file, [BETWEEN * between + array for array in arrays])
    return np.concatenate(list(episode.values()), axis=-1)[..., columns].astype(np.float32)


def has_states_between(file: Path) -> bool:
    """Whether an episode also holds the states between its frames."""
    return BETWEEN + "state" in read_npz(file, (), (BETWEEN + "state",))


def read_states(files: Sequence[Path], names: Sequence[str], frames: int | None = None) -> np.ndarray:
    """The numbers ``names`` at the first ``frames`` frames (all for None) of equally long episodes, float32 (n t m)."""
    return np.stack([episode_states(file, names)[:frames] for file in files])
