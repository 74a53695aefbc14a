"""Moments of recorded episodes: what was seen, and what was done then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.episodes.npz import dataset_files, dataset_robot, read_npz
from real2sim.robot import Robot
from real2sim.robot_match import check_same_robot
from real2sim.simulation.observation import Observation, observe
from real2sim.simulation.suite import Start, Suite

RECORDED_FOLDER = "recorded"
"""Dataset folder in a suite."""
BEFORE = 5
"""Frames before a moment that a policy with a memory is shown first; RT-1 remembers as many."""


@dataclass(frozen=True)
class Moment:
    """One moment of an episode."""

    seen: tuple[Observation, ...]
    """What a policy is shown, one lane each: the frames before it, and the frame of the moment last."""
    action: np.ndarray | None
    """What was done then, float32 (K n); None where it is not known."""

    @property
    def instruction(self) -> str:
        """What the robot was told."""
        return self.seen[-1].instructions[0]


@dataclass(frozen=True)
class Moments:
    """Moments and where they come from."""

    moments: tuple[Moment, ...]
    source: str
    """A sentence without a full stop."""

    def __len__(self) -> int:
        return len(self.moments)

    @property
    def actions(self) -> np.ndarray | None:
        """What was done at each moment, float32 (m K n); None where it is not known."""
        actions = [moment.action for moment in self.moments if moment.action is not None]
        return np.stack(actions) if actions and len(actions) == len(self) else None


def find_moments(suite: Suite, count: int, data: Path | None = None) -> Moments:
    """``count`` moments of a dataset folder (the suite's own unless one is named), else the beginnings of the suite.

    Beginnings have actions where the suite has replays: the first ones of its first controller.
    """
    if data is None and (suite.folder / RECORDED_FOLDER).is_dir():
        data = suite.folder / RECORDED_FOLDER
    return _of_starts(suite, count) if data is None else _of_dataset(suite, count, data)


def _of_dataset(suite: Suite, count: int, folder: Path) -> Moments:
    """One moment per episode, from their beginnings to their ends; several where there are fewer episodes."""
    robot, files = suite.robot, dataset_files(folder)
    check_same_robot(dataset_robot(folder), f"the dataset in {folder}", robot, f"suite {suite.name!r}")
    chosen = [
        files[place] for place in np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    ]
    episodes = [_episode(path, robot) for path in chosen]
    moments = []
    for number in range(count):
        frames, actions, states, instruction = episodes[number % len(episodes)]
        place = round((number + 0.5) / count * (len(actions) - 1))
        first = max(0, place - BEFORE)
        seen = tuple(
            observe(
                robot, frames[at : at + 1], (instruction,), None if states is None else states[at : at + 1]
            )
            for at in range(first, place + 1)
        )
        moments.append(Moment(seen, robot.per_frame(actions[place])))
    return Moments(tuple(moments), f"{count} moments of {len(episodes)} recorded episodes in {folder}")


def _episode(path: Path, robot: Robot) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """Frames, actions that lead somewhere, states for a robot whose policies get one, and the instruction."""
    found = read_npz(path, ("image", "action", "instruction"), ("state",))
    actions = found["action"][:-1] if len(found["action"]) == len(found["image"]) else found["action"]
    if not len(actions):
        raise ValueError(f"{path} has one frame and no action; leave it out of the folder")
    if robot.state_from is None:
        return found["image"], actions, None, str(found["instruction"])
    expected = (len(found["image"]), len(robot.state))
    if "state" not in found or found["state"].shape != expected:
        shape = found["state"].shape if "state" in found else "none"
        raise ValueError(f"{path}: state is {shape}, expected {expected}: robot {robot.name!r} has a state")
    return found["image"], actions, found["state"].astype(np.float32), str(found["instruction"])


def _of_starts(suite: Suite, count: int) -> Moments:
    starts: list[tuple[Start, np.ndarray | None]] = []
    for task in suite.tasks:
        replays = suite.replays(task.name)
        recorded = next(iter(replays.values()), None)
        for place, start in enumerate(suite.starts(task.name)):
            known = recorded is not None and place < len(recorded)
            starts.append((start, suite.robot.per_frame(recorded[place, 0]) if known else None))  # type: ignore[index]
    with_actions = [item for item in starts if item[1] is not None]
    pool = with_actions or starts
    chosen = [
        pool[place] for place in np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int)
    ]
    source = f"{len(chosen)} first frames of suite {suite.name!r}"
    if with_actions:
        names: Sequence[str] = [next(iter(suite.replays(task.name)), "") for task in suite.tasks]
        source += f", with the first actions of controller {next(filter(None, names))!r}"
    moments = [
        Moment(
            (
                observe(
                    suite.robot, start.frame[None], (start.instruction,), _robot_state(start, suite.robot)
                ),
            ),
            action,
        )
        for start, action in chosen
    ]
    return Moments(tuple(moments), source)


def _robot_state(start: Start, robot: Robot) -> np.ndarray | None:
    if robot.state_from is None or start.robot_state is None:
        return None
    return start.robot_state[None].astype(np.float32)
