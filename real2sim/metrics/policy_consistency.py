"""Policy consistency: does a policy do on drawn frames what it does on recorded frames of the same moment?

Neither physics nor real trials are needed.  Recorded episodes are drawn again by a world, with the recorded actions,
from several of their moments on; the policy acts along the recorded and along the drawn frames, with one history up to
the moment where the drawing begins.  A simulator that a policy acts differently in cannot say how the policy does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.metrics.prediction import episode_seeds
from real2sim.robot import Robot
from real2sim.simulation.contracts import Policy, StochasticPolicy, World
from real2sim.simulation.observation import observe
from real2sim.simulation.suite import Start, Suite, Task

DEPTHS = (1, 5, 10)
"""Drawn steps after which the distance is stated."""
BEGINS = (0, 5, 9)
"""Moments of a recorded episode from which it is drawn again."""
LEAST_SPREAD = 0.02
"""Smallest spread of a policy's actions that distances are divided by, as a share of the robot's range."""


@dataclass(frozen=True)
class RecordedEpisodes:
    """Equally long recorded episodes of a suite's robot."""

    frames: np.ndarray
    """uint8 (e t+1 h w 3)."""
    actions: np.ndarray
    """float32 (e t K n); action i leads from frame i to frame i+1."""
    starts: tuple[Start, ...]
    """Task and first frame of each."""
    states: np.ndarray | None = None
    """What was measured at each frame, float32 (e t+1 m), with ``state_names``."""
    state_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def instructions(self) -> tuple[str, ...]:
        """What the robot was told."""
        return tuple(start.task.instruction for start in self.starts)

    def of(self, task: str) -> tuple[int, ...]:
        """Places of the episodes that were recorded for a task."""
        return tuple(place for place, start in enumerate(self.starts) if start.task.name == task)

    def part(self, places: Sequence[int]) -> RecordedEpisodes:
        """Some of the episodes."""
        rows = list(places)
        states = None if self.states is None else self.states[rows]
        starts = tuple(self.starts[row] for row in rows)
        return RecordedEpisodes(self.frames[rows], self.actions[rows], starts, states, self.state_names)

    def start(self, episode: int, moment: int) -> Start:
        """An episode that begins at a later moment of a recorded one."""
        start = self.starts[episode]
        known: dict[str, float] = {}
        if self.states is not None:
            known = dict(zip(self.state_names, map(float, self.states[episode, moment]), strict=True))
        return Start(start.task, f"{start.id}-{moment}", self.frames[episode, moment], measured=known)

    @classmethod
    def from_folder(
        cls, folder: Path, suite: Suite | None = None, count: int | None = None
    ) -> RecordedEpisodes:
        """The first ``count`` episodes of a dataset folder, which must be of the suite's tasks if one is given."""
        tasks = {} if suite is None else {task.instruction: task for task in suite.tasks}
        frames: list[np.ndarray] = []
        actions: list[np.ndarray] = []
        starts: list[Start] = []
        states: list[np.ndarray] = []
        names: tuple[str, ...] = ()
        for path in dataset_files(folder)[:count]:
            episode = read_npz(path, ["image", "action", "instruction"], ["state", "state_names"])
            instruction = str(episode["instruction"])
            if suite is None:
                tasks.setdefault(instruction, Task(instruction, instruction))
            elif instruction not in tasks:
                raise ValueError(
                    f"{path} was recorded for {instruction!r}, suite {suite.name!r} has {', '.join(map(repr, tasks))}"
                )
            if frames and episode["image"].shape != frames[0].shape:
                raise ValueError(
                    f"{path} has frames {episode['image'].shape}, others of {folder} {frames[0].shape}; "
                    "consistency is measured on episodes of one length"
                )
            frames.append(episode["image"])
            recorded = episode["action"][:-1].astype(np.float32)
            actions.append(recorded if recorded.ndim == 3 else recorded[:, None])
            starts.append(Start(tasks[instruction], path.stem, episode["image"][0]))
            if "state" in episode and "state_names" in episode:
                states.append(episode["state"].astype(np.float32))
                names = tuple(str(name) for name in episode["state_names"])
        whole = np.stack(states) if len(states) == len(frames) else None
        return cls(np.stack(frames), np.stack(actions), tuple(starts), whole, names)


@dataclass(frozen=True)
class Redrawn:
    """Recorded episodes drawn again from several moments on."""

    begins: tuple[int, ...]
    frames: np.ndarray
    """uint8 (b e d h w 3): for each beginning the d frames that follow it."""

    def part(self, places: Sequence[int]) -> Redrawn:
        """Some of the episodes."""
        return Redrawn(self.begins, self.frames[:, list(places)])


@dataclass(frozen=True)
class Consistency:
    """How far apart a policy's actions on recorded and on drawn frames are, in spreads of its own actions."""

    policy: str
    task: str
    distance: float
    """Over all drawn frames: root of the mean squared difference, divided by the spread."""
    at_depth: dict[int, float]
    """The same for the frames after so many drawn steps."""
    shift: float
    """Length of the mean difference alone, divided by the spread: what does not average out."""
    lasting: float
    """Differences averaged along each drawn sequence, root of their mean square over the sequences, in half ranges of
    the robot's action: what steers a policy elsewhere for many frames, not what comes and goes.  Thresholds are
    stated for it."""
    moments: int
    """Pairs of frames that were compared."""


def draw_again(
    world: World,
    recorded: RecordedEpisodes,
    *,
    begins: Sequence[int] = BEGINS,
    depth: int = max(DEPTHS),
    seed: int = 0,
    lanes: int = 24,
) -> Redrawn:
    """Let a world draw ``depth`` frames after each of the beginnings, with the recorded actions."""
    length = recorded.actions.shape[1]
    kept = tuple(begin for begin in begins if begin + depth <= length)
    if not kept:
        raise ValueError(
            f"the recorded episodes have {length} steps, fewer than the {depth} that are to be drawn"
        )
    seeds = episode_seeds(seed, len(recorded))
    frames = np.empty((len(kept), len(recorded), depth, *recorded.frames.shape[2:]), np.uint8)
    for place, begin in enumerate(kept):
        for first in range(0, len(recorded), lanes):
            rows = range(first, min(first + lanes, len(recorded)))
            state = world.reset([recorded.start(row, begin) for row in rows], [seeds[row] for row in rows])
            for step in range(depth):
                drawn, state = world.step(state, recorded.actions[rows.start : rows.stop, begin + step])
                frames[place, rows.start : rows.stop, step] = drawn
    return Redrawn(kept, frames)


def actions_along(
    policy: Policy, robot: Robot, frames: np.ndarray, instructions: Sequence[str], seed: int = 0
) -> np.ndarray:
    """What a policy does at each of the frames uint8 (e t h w 3), float32 (e t K n)."""
    if isinstance(policy, StochasticPolicy):
        policy.seed(episode_seeds(seed, len(frames)))
    policy.reset(instructions)
    actions = []
    for moment in range(frames.shape[1]):
        answer = np.asarray(policy.act(observe(robot, frames[:, moment].copy(), instructions)), np.float32)
        actions.append(answer if answer.ndim == 3 else answer[:, None])
    return np.stack(actions, axis=1)


def measure_consistency(
    name: str,
    policy: Policy,
    robot: Robot,
    recorded: RecordedEpisodes,
    redrawn: Redrawn,
    instructions: Sequence[str],
    task: str,
) -> Consistency:
    """How consistent a policy is when it is told ``instructions``, one per recorded episode.

    A difference is measured number by number in half ranges of the robot's action, as far as the robot uses the number.
    The spread is the standard deviation of the policy's actions on the recorded frames, over all numbers together.
    """
    used = robot.used
    scale = ((robot.high - robot.low) / 2)[used]
    real = actions_along(policy, robot, recorded.frames[:, :-1], instructions)[..., used] / scale
    depth = min(redrawn.frames.shape[2], real.shape[1])
    differences = []
    for place, begin in enumerate(redrawn.begins):
        drawn = redrawn.frames[place]
        seen = np.concatenate([recorded.frames[:, : begin + 1], drawn], axis=1)[:, : real.shape[1]]
        acted = actions_along(policy, robot, seen, instructions)[..., used] / scale
        difference = acted[:, begin + 1 :] - real[:, begin + 1 : begin + 1 + acted.shape[1] - begin - 1]
        padded = np.full((len(real), depth, *difference.shape[2:]), np.nan, np.float32)
        padded[:, : difference.shape[1]] = difference
        differences.append(padded)
    apart = np.stack(differences)  # beginnings, episodes, depth, K, numbers
    spread = max(math.sqrt(float(real.var(axis=(0, 1)).sum(axis=-1).mean())), LEAST_SPREAD)
    squared = np.square(apart).sum(axis=-1).mean(axis=-1)
    mean = np.nanmean(apart, axis=(0, 1, 2))
    along = np.nanmean(apart, axis=(2, 3))
    return Consistency(
        policy=name,
        task=task,
        distance=math.sqrt(float(np.nanmean(squared))) / spread,
        at_depth={
            d: math.sqrt(float(np.nanmean(squared[:, :, d - 1]))) / spread for d in DEPTHS if d <= depth
        },
        shift=math.sqrt(float(np.square(mean).sum(axis=-1).mean())) / spread,
        lasting=math.sqrt(float(np.square(along).sum(axis=-1).mean())),
        moments=int(np.isfinite(squared).sum()),
    )
