"""Recorded actions of a suite that are none are refused by file and array when they are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.simulation.suite import load_suite


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array("x"), r"is <U1 of shape \(\), expected numbers \(starts, steps, n\)"),
        (np.zeros((6, 5)), r"is float64 of shape \(6, 5\), expected"),
        (
            np.zeros((6, 0, 13), np.float32),
            r"is float32 of shape \(6, 0, 13\), expected .* at least one step",
        ),
        (np.full((6, 5, 13), np.nan, np.float32), "holds values that are not finite"),
    ],
)
def test_replays_that_are_no_actions_are_named(
    tiny_suite: Path, tmp_path: Path, array: np.ndarray, said: str
) -> None:
    folder = Path(shutil.copytree(tiny_suite, tmp_path / "suite"))
    arrays = read_arrays(folder / "replays.npz")
    write_arrays(folder / "replays.npz", {**arrays, "close_drawer/push/actions": array})
    with pytest.raises(ValueError, match=f"replays.npz: close_drawer/push/actions {said}"):
        load_suite(folder).replays("close_drawer")
