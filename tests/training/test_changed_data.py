"""Data that changes while a training is stopped: what is learned from it would be of neither."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_trainings import TRAININGS

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.learned_files import difference, file_sums
from real2sim.training.checkpoint import DATA_FILE, check_data, write_settings
from real2sim.training.loop import run_training
from real2sim.training.optimisation import Optimisation

ONE = Optimisation(steps=1, warmup=1, device="cpu")


def change(file: Path) -> None:
    with np.load(file) as held:
        write_arrays(file, {**held, "extra": np.zeros(1)})


@pytest.mark.parametrize("name", ["RT-1", "judge", "validity gate", "imitation by regression"])
def test_a_training_whose_data_is_fixed_refuses_other_data(tmp_path: Path, name: str) -> None:
    task, out = TRAININGS[name](tmp_path), tmp_path / "out"
    assert run_training(task, ONE, out)
    assert run_training(task, ONE, out)
    file = sorted((tmp_path / "data").glob("*.npz"))[1]
    change(file)
    with pytest.raises(ValueError, match=f"{file} is another one; put it back as it was, or choose another"):
        run_training(task, replace(ONE, steps=2), out)
    file.unlink()
    with pytest.raises(ValueError, match=f"{file} is gone"):
        run_training(task, replace(ONE, steps=2), out)


@pytest.mark.parametrize("name", ["states", "frames from states", "frames from frames"])
def test_a_world_model_goes_on_with_other_data_and_says_so(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    task, out = TRAININGS[name](tmp_path), tmp_path / "out"
    write_settings(task, out)
    check_data(task, out)
    assert not caplog.messages
    first = sorted((tmp_path / "data").glob("*.npz"))[0]
    shutil.copy(first, first.with_name("a-new-one.npz"))
    check_data(task, out)
    assert "a-new-one.npz is new); it goes on with it" in caplog.messages[-1]


def test_a_copy_of_the_data_in_another_folder_is_the_same(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        write_arrays(tmp_path / folder / "0.npz", {"action": np.ones(3)})
        (tmp_path / folder / "robot.json").write_text("{}")
    here, there = (
        [tmp_path / folder / name for name in ("0.npz", "robot.json")] for folder in ("here", "there")
    )
    assert difference(file_sums(there), file_sums(here), there) is None
    (tmp_path / "there" / "robot.json").write_text("{ }")
    assert difference(file_sums(there), file_sums(here), there) == f"{there[1]} is another one"


def test_an_older_training_has_no_fingerprints_and_edited_ones_are_named(tmp_path: Path) -> None:
    task, out = TRAININGS["RT-1"](tmp_path), tmp_path / "out"
    run_training(task, ONE, out)
    (out / DATA_FILE).write_text("[]")
    with pytest.raises(ValueError, match="has no object 'files' of fingerprints"):
        run_training(task, ONE, out)
    (out / DATA_FILE).unlink()
    assert run_training(task, ONE, out)
    assert (out / DATA_FILE).is_file()
