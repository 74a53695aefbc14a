"""Frames, seeds, actions and instructions that a world model or a judge may be given by mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from real2sim.success.classifier import SuccessClassifier
from real2sim.vid2world.world_model import WorldModel

FRAMES, ACTIONS = np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, 13), np.float32)


@pytest.fixture(scope="module")
def model(tiny_suite: Path) -> WorldModel:
    return WorldModel.from_folder(tiny_suite / "world_model")


@pytest.mark.parametrize(
    "frames", [None, FRAMES.tolist(), torch.zeros(1, 16, 16, 3), np.ma.array(FRAMES, mask=True), FRAMES[0]]
)
def test_start_frames_are_whole_arrays(model: WorldModel, frames: Any) -> None:
    with pytest.raises(ValueError, match=r"start frames are .*, expected uint8 \(b, 16, 16, 3\)"):
        model.reset(frames, [0])


@pytest.mark.parametrize("seeds", [None, 1, "0", {0: 1}, [1.5], [None], [-1], [True], [0, 1]])
def test_seeds_are_a_whole_number_for_each_lane(model: WorldModel, seeds: Any) -> None:
    with pytest.raises(ValueError, match="seed"):
        model.reset(FRAMES, seeds)


@pytest.mark.parametrize(
    "actions",
    [None, ACTIONS.tolist(), ACTIONS.astype(str), ACTIONS.astype(complex), np.ma.array(ACTIONS, mask=True)],
)
def test_actions_are_whole_arrays_of_numbers(model: WorldModel, actions: Any) -> None:
    with pytest.raises(ValueError, match=r"actions are .*, expected an array of numbers"):
        model.step(model.reset(FRAMES, [0]), actions)


@pytest.mark.parametrize(
    ("frames", "instructions"),
    [
        ([FRAMES], 5), ([FRAMES], "close drawer"), (None, ["close drawer"]), ([FRAMES.tolist()], ["close drawer"]),
        ([np.ma.array(FRAMES, mask=True)], ["close drawer"]), ([FRAMES[0]], ["close drawer"]),
    ],
)  # fmt: skip
def test_a_judge_asks_for_a_list_of_episodes(tiny_suite: Path, frames: Any, instructions: Any) -> None:
    judge = SuccessClassifier.from_folder(tiny_suite / "judge")
    with pytest.raises(ValueError, match=r"instructions are|frames are|frames of an episode are"):
        judge.judge(["a"], frames, instructions)
