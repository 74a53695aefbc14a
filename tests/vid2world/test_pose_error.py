"""What drawn frames say about the place of the hand, at toy size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pose_error import PoseErrorConfig, pose_errors
from real2sim.actions import WIDTH
from real2sim.drawer.presets import MEASURED
from real2sim.episodes.arrays import write_arrays
from real2sim.vid2world.training.perception import PerceptionConfig


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A bright square, a millimetre of the hand to a pixel; the drawer and the other axes stand still."""
    rng = np.random.default_rng(0)
    for episode in range(6):
        places = rng.integers(0, 11, 6)
        images = np.full((6, 16, 16, 3), 40, dtype=np.uint8)
        for image, place in zip(images, places, strict=True):
            image[6:11, place : place + 5] = 220
        arrays = {
            "image": images,
            "action": np.zeros((6, WIDTH), dtype=np.float32),
            "hand": np.stack([places / 1000, *np.zeros((2, 6))], axis=1).astype(np.float32),
            "drawer": np.zeros(6, dtype=np.float32),
        }
        folder = tmp_path / "recorded"
        folder.mkdir(exist_ok=True)
        write_arrays(folder / f"{episode}.npz", arrays)
    return folder


def test_the_hand_is_read_from_recorded_frames_and_misread_from_bad_drawings(
    tiny_suite: Path, recorded: Path, tmp_path: Path
) -> None:
    """The toy world model has learned nothing, so what it draws says nothing about the hand."""
    config = PoseErrorConfig(
        data=recorded,
        teach=recorded,
        run=tmp_path / "run",
        perception=PerceptionConfig(targets=MEASURED, networks=1, width=8, steps=150, batch=16),
        world=str(tiny_suite / "world_model"),
        frames=(1, 5),
    )
    errors = pose_errors(config).set_index(["frame", "read from"])
    assert errors.index.tolist() == [(1, "recorded"), (1, "drawn"), (5, "recorded"), (5, "drawn")]
    assert (errors.loc[(slice(None), "recorded"), "hand x"] < 1).all()
    assert (errors.loc[(slice(None), "drawn"), "hand x"] > 2).all()
    assert (errors.loc[(slice(None), "recorded"), ["hand y", "hand z", "drawer"]] < 0.5).all(axis=None)
