"""Policies of the SO-101 that recall or regress on the demonstrations in ``data/demonstrations`` (`docs/so101.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.development_policies.nearest import small
from real2sim.episodes.npz import dataset_files, dataset_robot, read_npz
from real2sim.episodes.states import episode_states
from real2sim.policies.policy import Observation
from real2sim.so101.physics import ACTIONS_PER_FRAME

DEMONSTRATIONS = Path("data/demonstrations")


def features(frames: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Canvases (n h w 3) averaged over 4 x 4 pixels in [0, 1], and joints in units of 30, flat float32 (n d)."""
    return np.concatenate([small(frames), states.astype(np.float32) / 30], axis=1)


class Recorded:
    """Frames and joints of the demonstrations with the five targets that followed, by task."""

    def __init__(self, episodes: int) -> None:
        robot = dataset_robot(DEMONSTRATIONS)
        self.low, self.high = (
            np.array([getattr(number, end) for number in robot.action]) for end in ("low", "high")
        )
        self.lengths: dict[str, list[int]] = {}
        kept: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for file in dataset_files(DEMONSTRATIONS)[:episodes]:
            episode = read_npz(file, ("image", "action", "instruction"))
            actions = robot.per_frame(episode["action"].astype(np.float32))[:-1]
            states = episode_states(file, robot.state_names)
            seen = features(episode["image"][: len(actions)], states[: len(actions)])
            kept.setdefault(str(episode["instruction"]), []).append((seen, actions))
            self.lengths.setdefault(str(episode["instruction"]), []).append(len(actions))
        self.known = {
            text: (np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs]))
            for text, pairs in kept.items()
        }


class Nearest:
    """The mean of what was done in the ``count`` most alike recorded frames; ``joints`` weighs joints beside pixels."""

    def __init__(self, count: int = 3, episodes: int = 300, joints: float = 1.0) -> None:
        self._recorded, self._count, self._joints = Recorded(episodes).known, count, joints
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
            apart = np.square(known - point)
            apart[:, -observation.state.shape[1] :] *= self._joints
            chosen = np.argsort(apart.sum(axis=1))[: self._count]
            answers.append(actions[chosen].mean(axis=0))
        return np.stack(answers).astype(np.float32)


class Replayed:
    """Plays the commands of the demonstration that begins most alike, without looking again."""

    def __init__(self, episodes: int = 300) -> None:
        recorded = Recorded(episodes)
        self._known, self._lengths = recorded.known, recorded.lengths
        self._instructions: list[str] = []
        self._plans: list[np.ndarray] = []

    def reset(self, instructions: Sequence[str]) -> None:
        """One instruction per lane."""
        self._instructions, self._plans = list(instructions), []

    def act(self, observation: Observation) -> np.ndarray:
        """Joint targets float32 (lanes 5 6)."""
        assert observation.state is not None
        if not self._plans:
            asked = features(observation.frames, observation.state)
            self._plans = [
                self._plan(point, text) for point, text in zip(asked, self._instructions, strict=True)
            ]
        answers = np.stack([plan[0] for plan in self._plans])
        self._plans = [plan[1:] if len(plan) > 1 else plan for plan in self._plans]
        return answers.astype(np.float32)

    def _plan(self, point: np.ndarray, text: str) -> np.ndarray:
        known, actions = self._known[text]
        ends = np.cumsum(self._lengths[text])
        begins = ends - self._lengths[text]
        best = int(np.argmin(np.square(known[begins] - point).sum(axis=1)))
        return actions[begins[best] : ends[best]]


class Filters:
    """Ridge regression on random rectified features of frames and joints (Rahimi & Recht 2007), or with ``width`` 0 on
    pixels and joints themselves."""

    def __init__(self, width: int = 1500, ridge: float = 30.0, episodes: int = 300) -> None:
        rng = np.random.default_rng(0)
        self._solved: dict[str, np.ndarray] = {}
        self._instructions: list[str] = []
        recorded = Recorded(episodes)
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
        x = (x - self._mean) / self._spread
        raised = np.maximum(x @ self._weights + self._bias, 0.0) if self._bias.size else x
        return np.concatenate([raised, np.ones((len(x), 1))], axis=1)
