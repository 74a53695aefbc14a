"""Synthetic drawer episodes: a bright bar whose height in the picture is the joint position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def draw(joint: float, size: int = 16) -> np.ndarray:
    """One frame (size, size, 3): the bar lies at the top at 0 (closed), near the bottom at -0.16 (open)."""
    frame = np.full((size, size, 3), 90, np.uint8)
    exact = 1 + (size - 5) * min(1.0, -joint / 0.16)
    for row in range(size):
        covered = np.clip(min(row + 1, exact + 3) - max(row, exact), 0, 1)
        frame[row, 3:-3] = np.round(90 + covered * np.array([160, 30, -70]))
    return frame


def write_episode(path: Path, rng: np.random.Generator, length: int = 5) -> None:
    task = ["close_drawer", "open_drawer"][int(rng.integers(2))]
    begin, end = rng.uniform(-0.16, 0, 2)
    joint = np.linspace(begin, end, length).astype(np.float32)
    success = joint[-1] > -0.03 if task == "close_drawer" else joint[-1] < -0.12
    np.savez(
        path,
        image=np.stack([draw(float(position)) for position in joint]),
        joint=joint,
        instruction=task.replace("_", " "),
        task=task,
        success=bool(success),
    )


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(7)
    for number in range(60):
        write_episode(folder / f"episode-{number:03d}.npz", rng)
    return folder


@pytest.fixture(scope="session")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unseen")
    rng = np.random.default_rng(8)
    for number in range(80):
        write_episode(folder / f"episode-{number:03d}.npz", rng)
    return folder
