"""Hand-written controllers that read colours: where the fingers, the drawer and its handle are, and what to do then.

The camera is calibrated once on recorded episodes: quadratic maps, fitted by least squares, from the places of coloured
spots in the picture to metres.  Nothing else is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.actions import FIELDS, MOVE_ARM, WIDTH
from real2sim.policies.policy import Observation, check_frames

STEP = 0.06
"""Largest move per step and axis, metres."""
LOW, CLEAR = 0.105, 0.22
"""Heights of the hand at which the fingers meet the handle, and at which they pass over it, metres."""


@dataclass(frozen=True)
class Manner:
    """How a controller differs from the best one."""

    scale: float = 1.0
    """Factor on its moves."""
    lag: int = 0
    """It acts on the frame of so many steps ago."""
    aim: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where it believes the handle to be, relative to where it sees it, metres."""
    noise: float = 0.0
    """Standard deviation of noise on its moves, in units of the largest step."""
    track: float = 0.0
    """Weight of what it expects, from its last estimate and its own move, against what it sees."""
    patience: float = 0.015
    """How well it lines up in y before it comes down to open, metres."""


def colours(frame: np.ndarray) -> dict[str, np.ndarray]:
    """Which pixels (h w) of a frame (h w 3) are of which part: finger, arm, drawer, case, wrist."""
    red, green, blue = np.moveaxis(frame.astype(np.float32), -1, 0)
    cyan = (blue > 120) & (green > 120) & (red < 0.62 * green)
    return {
        "finger": cyan,
        "arm": (red > 60) & (red > 2.2 * green) & (red > 2.2 * blue),
        "drawer": (red > 120) & (green > 0.35 * red) & (green < 0.72 * red) & (blue < 0.35 * red),
        "case": (green > 1.25 * red) & (green > 1.2 * blue) & (green > 50) & ~cyan,
        "wrist": frame.max(axis=-1) < 35,
    }


def _place(mask: np.ndarray) -> list[float]:
    rows, columns = np.nonzero(mask)
    return [float(columns.mean()), float(rows.mean())] if len(rows) else [np.nan, np.nan]


def hand_features(frame: np.ndarray) -> np.ndarray:
    """Places of finger, wrist and the arm above it (7,), pixels; nan where a part is not seen."""
    seen = colours(frame)
    column, row = _place(seen["finger"])
    if np.isnan(row):
        return np.full(7, np.nan)
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
    wrist = seen["wrist"] & (abs(columns - column) < 8) & (rows < row + 3) & (rows > row - 16)
    arm = seen["arm"] & (abs(columns - column) < 10) & (rows < row + 4) & (rows > row - 20)
    lowest = float(np.nonzero(seen["finger"])[0].max())
    return np.array([column, row, *_place(wrist), lowest, *_place(arm)])


def handle_features(frame: np.ndarray) -> np.ndarray:
    """Places of drawer and case, and how much of the drawer is seen (5,), pixels."""
    seen = colours(frame)
    return np.array([*_place(seen["drawer"]), 0.1 * seen["drawer"].sum(), *_place(seen["case"])])


def quadratic(features: np.ndarray) -> np.ndarray:
    """1, each number and each product of two (n q) of features (n f) in pixels."""
    x = (features - 32) / 32
    first, second = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, first] * x[:, second]], axis=1)


@dataclass(frozen=True)
class Calibration:
    """From pixels to metres."""

    hand: np.ndarray
    """(q 3) from `hand_features`."""
    handle: np.ndarray
    """(q 3) from `handle_features`."""

    def see(self, frame: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Hand and handle (3,) metres in a frame; None where they are not seen."""
        found = []
        for features, weights in ((hand_features(frame), self.hand), (handle_features(frame), self.handle)):
            seen = bool(np.isfinite(features).all())
            found.append((quadratic(features[None]) @ weights)[0] if seen else None)
        return found[0], found[1]

    @classmethod
    def fitted(cls, frames: np.ndarray, hands: np.ndarray, handles: np.ndarray) -> Calibration:
        """From frames uint8 (n h w 3) with the measured places (n 3) of hand and handle, metres."""
        weights = []
        for look, places in ((hand_features, hands), (handle_features, handles)):
            features = np.stack([look(frame) for frame in frames])
            seen = np.isfinite(features).all(axis=1)
            design = quadratic(features[seen])
            ridge = 1e-3 * np.eye(design.shape[1])
            weights.append(np.linalg.solve(design.T @ design + ridge, design.T @ places[seen]))
        return cls(*weights)

    def save(self, path: Path) -> None:
        """Write an npz file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, hand=self.hand, handle=self.handle)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read the npz file of `save`."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["hand"], file["handle"])


def decide(task: str, hand: np.ndarray, handle: np.ndarray, patience: float) -> tuple[np.ndarray, float]:
    """Move (3,) metres and gripper for hand and handle (3,): over it, down, then pull; or before it, then push."""
    x, y = handle[0] - hand[0], handle[1] - hand[1]
    if task == "close drawer":
        if y < 0.015:  # behind the bar or over it: up, then back to the robot's side
            rise = CLEAR - hand[2]
            return (np.array([0.0, -0.02, rise]) if rise > 0.03 else np.array([x, y - 0.1, 0.0])), 1.0
        if abs(x) > 0.035 or abs(LOW - hand[2]) > 0.035:
            return np.array([x, min(y - 0.07, 0.03), LOW - hand[2]]), 1.0
        return np.array([0.5 * x, STEP, 0.5 * (LOW - hand[2])]), 1.0
    y -= 0.012
    low = hand[2] < LOW + 0.035
    if low and abs(x) < 0.05 and abs(y) < 0.035:
        return np.array([0.3 * x, -STEP if handle[1] > 0.59 else 0.0, 0.5 * (LOW - hand[2])]), -1.0
    if abs(x) < 0.025 and abs(y) < patience:
        return np.array([x, y, LOW - hand[2]]), -1.0
    if hand[2] < CLEAR - 0.03 and abs(x) < 0.12 and abs(y) < 0.13:
        return np.array([0.0, 0.0, CLEAR - hand[2]]), -1.0
    return np.array([x, y, CLEAR - hand[2]]), -1.0


class PixelController:
    """Acts on what it reads from colours; where it sees no finger it trusts what it expects, or stands still."""

    def __init__(self, calibration: Calibration, manner: Manner | None = None) -> None:
        self._calibration, self._manner = calibration, manner or Manner()
        self._next_seeds: list[int] | None = None
        self._lanes: list[_Lane] = []

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane; only a noisy controller needs them."""
        self._next_seeds = [int(seed) for seed in seeds]

    def reset(self, instructions: Sequence[str]) -> None:
        """Forget the past."""
        seeds = self._next_seeds or list(range(len(instructions)))
        self._next_seeds = None
        self._lanes = [
            _Lane(self._calibration, self._manner, task, seed)
            for task, seed in zip(instructions, seeds, strict=True)
        ]

    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes 13)."""
        frames = observation.frames
        check_frames(frames, len(self._lanes))
        return np.stack([lane.act(frame) for lane, frame in zip(self._lanes, frames, strict=True)])


class _Lane:
    def __init__(self, calibration: Calibration, manner: Manner, task: str, seed: int) -> None:
        self._calibration, self._manner, self._task = calibration, manner, task
        self._rng = np.random.default_rng([seed, 0])
        self._frames: list[np.ndarray] = []
        self._hand: np.ndarray | None = None
        self._handle: np.ndarray | None = None
        self._move = np.zeros(3)

    def act(self, frame: np.ndarray) -> np.ndarray:
        manner = self._manner
        self._frames = [*self._frames, frame][-(manner.lag + 1) :]
        hand, handle = self._calibration.see(self._frames[0])
        if self._hand is not None:
            expected = self._hand + self._move
            hand = expected if hand is None else manner.track * expected + (1 - manner.track) * hand
        handle = self._handle if handle is None else handle
        self._hand, self._handle = hand, handle
        move, gripper = np.zeros(3), 1.0 if self._task == "close drawer" else -1.0
        if hand is not None and handle is not None:
            aside, along, above = manner.aim
            believed = handle + np.array([aside, along, 0.0])
            move, gripper = decide(self._task, hand - np.array([0.0, 0.0, above]), believed, manner.patience)
        move = np.clip(move * manner.scale, -STEP, STEP)
        if manner.noise:
            move = np.clip(move + manner.noise * STEP * self._rng.standard_normal(3), -STEP, STEP)
        self._move = move
        action = np.zeros(WIDTH, np.float32)
        action[FIELDS["world_vector"]] = move
        action[FIELDS["gripper_closedness_action"]] = gripper
        action[FIELDS["terminate_episode"]][MOVE_ARM] = 1
        return action
