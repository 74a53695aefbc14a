"""Policies without gradient descent: nearest recorded frames, and ridge regression on fixed random filters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from real2sim.drawer.presets import DRAWER_BOUNDS
from real2sim.policies.policy import Observation, check_frames


def small(frames: np.ndarray) -> np.ndarray:
    """Frames (n h w 3) averaged over blocks of 4 x 4 pixels, flat float32 (n d) in [0, 1]."""
    n, height, width, _ = frames.shape
    blocks = frames.reshape(n, height // 4, 4, width // 4, 4, 3).astype(np.float32).mean(axis=(2, 4))
    return (blocks / 255).reshape(n, -1)


class NearestFrames:
    """Does what was right in the ``count`` most similar of all recorded frames: their mean action.

    Frames are compared by their ``width`` largest principal components at a quarter of the size.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._a = arrays
        self._instructions: list[str] = []

    @classmethod
    def fitted(
        cls, frames: np.ndarray, labels: dict[str, np.ndarray], count: int, width: int = 48
    ) -> NearestFrames:
        """From frames uint8 (n h w 3) and the right action (n 13) for each instruction."""
        x = small(frames)
        mean = x.mean(axis=0)
        _, vectors = np.linalg.eigh(np.cov((x - mean).T.astype(np.float64)))
        basis = vectors[:, ::-1][:, :width].astype(np.float32)
        arrays = {"mean": mean, "basis": basis, "points": (x - mean) @ basis, "count": np.array(count)}
        return cls(arrays | {f"label/{name}": value for name, value in labels.items()})

    def save(self, path: Path) -> None:
        """Write an npz file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **self._a)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> NearestFrames:
        """Read the npz file of `save`."""
        with np.load(path, allow_pickle=False) as file:
            return cls({name: file[name] for name in file.files})

    def reset(self, instructions: Sequence[str]) -> None:
        """One instruction per lane."""
        self._instructions = list(instructions)

    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes 13)."""
        frames = observation.frames
        check_frames(frames, len(self._instructions))
        asked = (small(frames) - self._a["mean"]) @ self._a["basis"]
        actions = []
        for point, instruction in zip(asked, self._instructions, strict=True):
            distance = np.square(self._a["points"] - point).sum(axis=1)
            chosen = np.argpartition(distance, int(self._a["count"]))[: int(self._a["count"])]
            actions.append(self._a[f"label/{instruction}"][chosen].mean(axis=0))
        return np.stack(actions).astype(np.float32)


class RandomFilters:
    """Ridge regression of actions on the responses of fixed random filters (Rahimi & Recht 2007), pooled by cells."""

    FILTERS, CELLS = 64, 8

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._a = arrays
        self._instructions: list[str] = []

    @classmethod
    def fitted(
        cls, batches: Sequence[tuple[np.ndarray, dict[str, np.ndarray]]], seed: int, ridge: float = 3.0
    ) -> RandomFilters:
        """From batches of frames uint8 (n h w 3) and the right action (n 13) for each instruction.

        The filters are random patches of the frames, brought to length 1.
        """
        rng = np.random.default_rng(seed)
        frames = batches[0][0]
        patches: list[np.ndarray] = []
        while len(patches) < cls.FILTERS:
            row, column = rng.integers(0, frames.shape[1] - 7, size=2)
            patch = (
                frames[rng.integers(len(frames)), row : row + 7, column : column + 7].astype(np.float32) / 255
            )
            patch = patch - patch.mean(axis=(0, 1))
            if np.linalg.norm(patch) > 0.8:
                patches.append(patch / np.linalg.norm(patch))
        arrays = {"filters": np.stack(patches).astype(np.float32)}
        policy = cls(arrays)
        gram: np.ndarray | float = 0.0
        right: dict[str, np.ndarray | float] = {name: 0.0 for name in batches[0][1]}
        for shown, labels in batches:
            x = policy.responses(shown).astype(np.float64)
            gram = gram + x.T @ x
            right = {name: right[name] + x.T @ value for name, value in labels.items()}
        assert isinstance(gram, np.ndarray)
        solved = gram + ridge * np.eye(len(gram))
        for name, value in right.items():
            arrays[f"label/{name}"] = np.linalg.solve(solved, value).astype(np.float32)
        return policy

    def responses(self, frames: np.ndarray) -> np.ndarray:
        """Responses (n d) of the filters, the strongest of each cell, and 1."""
        pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
        filters = torch.from_numpy(self._a["filters"]).permute(0, 3, 1, 2)
        maps = torch.relu(F.conv2d(pictures, filters, stride=2, padding=3) - 0.2)
        cells = F.adaptive_max_pool2d(maps, self.CELLS).flatten(1)
        return torch.cat([cells, torch.ones(len(cells), 1)], dim=1).numpy()

    def save(self, path: Path) -> None:
        """Write an npz file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **self._a)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> RandomFilters:
        """Read the npz file of `save`."""
        with np.load(path, allow_pickle=False) as file:
            return cls({name: file[name] for name in file.files})

    def reset(self, instructions: Sequence[str]) -> None:
        """One instruction per lane."""
        self._instructions = list(instructions)

    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes 13)."""
        frames = observation.frames
        check_frames(frames, len(self._instructions))
        responses = self.responses(frames)
        actions = [
            row @ self._a[f"label/{name}"] for row, name in zip(responses, self._instructions, strict=True)
        ]
        low, high = DRAWER_BOUNDS.low, DRAWER_BOUNDS.high
        return np.clip(np.stack(actions), low, high).astype(np.float32)
