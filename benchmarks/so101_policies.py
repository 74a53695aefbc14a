"""Policies of the SO-101 that are not shipped and that no world model was developed with: an independent test.

    real2sim rollout --suite so101 --policies pixels=benchmarks/so101_policies.py:pixels ... --out runs/held-out

Controllers find the red block in the front camera by its colour, and the place on the table from where the camera
stands; they know the joints, and plan with the arm's kinematics.  `nearest` does what was done in the most alike of the
demonstrations in ``data/demonstrations`` (`docs/so101.md`), `filters` regresses on random filters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.development_policies.nearest import small
from real2sim.episodes.npz import dataset_files, dataset_robot, read_npz
from real2sim.episodes.states import episode_states
from real2sim.policies.policy import Observation, check_frames
from real2sim.so101.physics import ACTIONS_PER_FRAME, IMAGE_SIZE, TASKS, SO101Physics, SO101Start
from real2sim.so101.reach import Reach
from real2sim.so101.scene import BLOCK, CONTROL_HZ, FRONT, TRAY

DEMONSTRATIONS = Path("data/demonstrations")
FIELD_OF_VIEW = 42.0
"""Of the front camera, degrees."""
HIGH, LOW = 0.08, 0.022
"""Heights of the jaws' tips, metres."""
TASK_OF = {instruction: task for task, instruction in TASKS.items()}


def find_block(frame: np.ndarray) -> np.ndarray | None:
    """Where the red block is on the table (2,), metres, from the front camera's frame (h w 3); None if it is hidden."""
    red, green, blue = (frame[..., channel].astype(int) for channel in range(3))
    rows, columns = np.nonzero((red > 90) & (green < 0.45 * red) & (blue < 0.45 * red))
    if len(rows) < 5:
        return None
    at, towards = (np.array(place, float) for place in FRONT)
    forward = (towards - at) / np.linalg.norm(towards - at)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    scale = np.tan(np.radians(FIELD_OF_VIEW) / 2) / (IMAGE_SIZE / 2)
    across, below = (
        (columns.mean() + 0.5 - IMAGE_SIZE / 2) * scale,
        (rows.mean() + 0.5 - IMAGE_SIZE / 2) * scale,
    )
    ray = forward + across * right - below * np.cross(right, forward)
    place = at + ray * (BLOCK - at[2]) / ray[2]
    return np.array(place[:2])


@dataclass(frozen=True)
class Manner:
    """How a controller acts."""

    aim: tuple[float, float] = (0.0, 0.0)
    """Offset of the believed place of the block, metres."""
    speed: float = 0.14
    """Metres per second."""
    looks: bool = True
    """It looks at every frame; else at the first alone."""
    noise: float = 0.0
    """Standard deviation of an error of the commanded place, new for each frame, metres."""
    turn: float = 35.0
    """Direction in which the jaws open in a grasp, degrees."""


class PixelController:
    """Over the block and down, then close and rise; or behind it and on into the tray."""

    def __init__(self, manner: Manner | None = None) -> None:
        self._manner = manner or Manner()
        self._physics = SO101Physics()
        self._seeds: list[int] | None = None
        self._lanes: list[_Plan] = []

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane."""
        self._seeds = [int(seed) for seed in seeds]

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin with one instruction per lane."""
        seeds = self._seeds or [0] * len(instructions)
        self._lanes = [
            _Plan(self._physics, self._manner, TASK_OF[text], seed)
            for text, seed in zip(instructions, seeds, strict=True)
        ]

    def act(self, observation: Observation) -> np.ndarray:
        """Joint targets float32 (lanes 5 6)."""
        check_frames(observation.frames, len(self._lanes))
        assert observation.state is not None
        pairs = zip(self._lanes, observation.images["front"], observation.state, strict=True)
        return np.stack([lane.act(frame, state) for lane, frame, state in pairs]).astype(np.float32)


class _Plan:
    def __init__(self, physics: SO101Physics, manner: Manner, task: str, seed: int) -> None:
        self._physics, self._manner, self._task = physics, manner, task
        self._rng = np.random.default_rng(seed)
        self._reach = Reach(physics)
        self._block: np.ndarray | None = None
        self._place: np.ndarray | None = None
        self._yaw = 0.0
        self._gripper = 30.0
        self._phase, self._since = 0, 0

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Five joint targets (5 6) for the front camera's frame and the measured joints."""
        if self._place is None:
            # The arm's kinematics alone: where this plan's block lies is not told.
            self._physics.reset(SO101Start(tuple(map(float, state)), (0.4, -0.3, 0.0)))
            self._reach.begin()
            self._place, self._gripper = self._physics.tool, float(state[5])
        if self._block is None or (self._manner.looks and self._phase < 2):
            seen = find_block(frame)
            self._block = self._block if seen is None else seen + np.array(self._manner.aim)
        error = self._rng.normal(0.0, 1.0, 3) * self._manner.noise
        return np.stack([self._command(error) for _ in range(ACTIONS_PER_FRAME)])

    def _command(self, error: np.ndarray) -> np.ndarray:
        assert self._place is not None
        if self._block is not None:
            (self._lift if self._task == "lift_block" else self._push)(self._block)
        place = self._place + error
        return np.array(
            [*self._reach.joints(np.array([*place[:2], max(place[2], 0.01)]), self._yaw), self._gripper]
        )

    def _towards(self, goal: Sequence[float], speed: float) -> bool:
        """One command towards a place; whether it is reached."""
        assert self._place is not None
        way = np.array(goal, float) - self._place
        length = float(np.linalg.norm(way))
        self._place = self._place + way * min(
            1.0, speed * self._manner.speed / CONTROL_HZ / max(length, 1e-9)
        )
        self._since += 1
        return length < 0.004

    def _next(self) -> None:
        self._phase, self._since = self._phase + 1, 0

    def _lift(self, block: np.ndarray) -> None:
        self._yaw = self._manner.turn
        if self._phase == 0:
            self._gripper = min(55.0, self._gripper + 5.0)
            if self._towards((*block, HIGH), 1.0):
                self._next()
        elif self._phase == 1:
            if self._towards((*block, LOW), 0.7) and self._since > 12:
                self._next()
        elif self._phase == 2:
            self._gripper = max(4.0, self._gripper - 7.0)
            self._since += 1
            if self._since > 10:
                self._next()
        else:
            self._towards((*block, 0.11), 0.5)

    def _push(self, block: np.ndarray) -> None:
        way = np.array(TRAY) - block
        along = way / max(float(np.linalg.norm(way)), 1e-9)
        self._gripper = max(6.0, self._gripper - 5.0)
        if self._phase < 2:
            self._yaw = float(np.degrees(np.arctan2(along[1], along[0]))) - 90.0
        behind = block - 0.05 * along
        if self._phase == 0:
            if self._towards((*behind, HIGH), 1.0):
                self._next()
        elif self._phase == 1:
            if self._towards((*behind, LOW), 0.8):
                self._next()
        elif self._phase == 2:
            if self._towards((TRAY[0], TRAY[1] - 0.015, LOW), 0.5):
                self._next()
        else:
            self._towards((TRAY[0], TRAY[1] - 0.06, HIGH), 0.8)


def features(frames: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Canvases (n h w 3) averaged over 4 x 4 pixels in [0, 1], and joints in units of 30, flat float32 (n d)."""
    return np.concatenate([small(frames), states.astype(np.float32) / 30], axis=1)


class _Recorded:
    """Frames and joints of the demonstrations with the five targets that followed, by task."""

    def __init__(self, episodes: int) -> None:
        robot = dataset_robot(DEMONSTRATIONS)
        self.low, self.high = (
            np.array([getattr(number, end) for number in robot.action]) for end in ("low", "high")
        )
        kept: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for file in dataset_files(DEMONSTRATIONS)[:episodes]:
            episode = read_npz(file, ("image", "action", "instruction"))
            actions = robot.per_frame(episode["action"].astype(np.float32))[:-1]
            states = episode_states(file, robot.state_names)
            seen = features(episode["image"][: len(actions)], states[: len(actions)])
            kept.setdefault(str(episode["instruction"]), []).append((seen, actions))
        self.known = {
            text: (np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs]))
            for text, pairs in kept.items()
        }


class Nearest:
    """The mean of what was done in the ``count`` most alike recorded frames."""

    def __init__(self, count: int = 3, episodes: int = 300) -> None:
        self._recorded, self._count = _Recorded(episodes).known, count
        self._instructions: list[str] = []

    def reset(self, instructions: Sequence[str]) -> None:
        """One instruction per lane."""
        self._instructions = list(instructions)

    def act(self, observation: Observation) -> np.ndarray:
        """Joint targets float32 (lanes 5 6)."""
        assert observation.state is not None
        asked, answers = features(observation.frames, observation.state), []
        for point, text in zip(asked, self._instructions, strict=True):
            known, actions = self._recorded[text]
            chosen = np.argsort(np.square(known - point).sum(axis=1))[: self._count]
            answers.append(actions[chosen].mean(axis=0))
        return np.stack(answers).astype(np.float32)


class Filters:
    """Ridge regression on random rectified features of frames and joints (Rahimi & Recht 2007)."""

    def __init__(self, width: int = 1500, ridge: float = 30.0, episodes: int = 300) -> None:
        rng = np.random.default_rng(0)
        self._solved: dict[str, np.ndarray] = {}
        self._instructions: list[str] = []
        recorded = _Recorded(episodes)
        self._low, self._high = recorded.low, recorded.high
        for text, (known, actions) in recorded.known.items():
            if not self._solved:
                self._mean, self._spread = known.mean(axis=0), known.std(axis=0) + 0.05
                self._weights = rng.normal(0.0, 1.0 / np.sqrt(known.shape[1]), (known.shape[1], width))
                self._bias = rng.uniform(-1.0, 1.0, width)
            x = self._lifted(known)
            self._solved[text] = np.linalg.solve(
                x.T @ x + ridge * np.eye(x.shape[1]), x.T @ actions.reshape(len(x), -1)
            )

    def reset(self, instructions: Sequence[str]) -> None:
        """One instruction per lane."""
        self._instructions = list(instructions)

    def act(self, observation: Observation) -> np.ndarray:
        """Joint targets float32 (lanes 5 6)."""
        assert observation.state is not None
        x = self._lifted(features(observation.frames, observation.state))
        answers = [row @ self._solved[text] for row, text in zip(x, self._instructions, strict=True)]
        targets = np.stack(answers).reshape(len(x), ACTIONS_PER_FRAME, -1)
        return np.clip(targets, self._low, self._high).astype(np.float32)

    def _lifted(self, x: np.ndarray) -> np.ndarray:
        raised = np.maximum(((x - self._mean) / self._spread) @ self._weights + self._bias, 0.0)
        return np.concatenate([raised, np.ones((len(x), 1))], axis=1)


def _controller(manner: Manner) -> Callable[[], PixelController]:
    return lambda: PixelController(manner)


pixels = _controller(Manner())
once = _controller(Manner(looks=False))
beside = _controller(Manner(aim=(0.0, 0.014)))
before = _controller(Manner(aim=(-0.016, -0.004)))
slow = _controller(Manner(speed=0.075))
noisy = _controller(Manner(noise=0.008))
turned = _controller(Manner(turn=0.0))


def nearest() -> Nearest:
    """The three most alike of all demonstrations."""
    return Nearest()


def nearest_few() -> Nearest:
    """The most alike of 60 demonstrations."""
    return Nearest(1, 60)


def filters() -> Filters:
    """Ridge regression on all demonstrations."""
    return Filters()
