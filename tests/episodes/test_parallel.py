"""Episodes written by several processes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from real2sim.episodes.parallel import write_in_processes
from real2sim.files import atomic_write


def opened(folder: Path) -> Path:
    return folder


def write(folder: Path, number: int) -> int:
    with atomic_write(folder / f"{number}.npz"):
        if number == 0:
            time.sleep(60)
        while not list(folder.glob(".0.npz*")):
            time.sleep(0.01)
        raise ValueError("the second one fails")


@pytest.mark.slow
def test_a_process_that_is_ended_because_another_failed_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the second one fails"):
        list(write_in_processes(opened, tmp_path, write, [(0,), (1,)], 2))
    assert not list(tmp_path.iterdir())
