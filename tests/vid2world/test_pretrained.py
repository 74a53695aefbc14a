"""Trainings that begin with the weights of a world model: what they change, what they keep, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.vid2world.training.train_small import TrainWorldModel, train_world_model
from real2sim.vid2world.training.train_states import StateTrainingConfig
from real2sim.vid2world.training.windows import WindowOptimisation
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from tests.vid2world.robot_states import episode, model_config, write_episodes

LITTLE = WindowOptimisation(steps=2, windows=2, frames=2, warmup=0, learning_rate=1e-4, ema=0, weight_decay=0)
FURTHEST = 3e-4
"""Two steps of AdamW move a weight by hardly more than twice the learning rate, and it is stored as float16."""


def saved(config: WorldModelConfig, folder: Path) -> Path:
    torch.manual_seed(3)
    model = WorldModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter).clamp(-2, 2) / 8)
    model.first_stage.fit(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8))
    if model.state_head is not None:
        states = [torch.from_numpy(episode(np.random.default_rng(seed))["state"]) for seed in range(9)]
        model.state_head.fit(states)
    model.save(folder, "# Card")
    return folder


def training(tmp_path: Path, pretrained: Path, **changes: object) -> TrainWorldModel:
    data = tmp_path / "data"
    if not data.exists():
        write_episodes(data, 3)
    return TrainWorldModel(
        data,
        tmp_path / "out",
        pretrained=pretrained,
        optimisation=LITTLE,
        states=StateTrainingConfig(LITTLE, batch=8, unroll=2),
        **changes,  # type: ignore[arg-type]
    )


def weights(folder: Path | None, begin: str = "") -> dict[str, torch.Tensor]:
    assert folder is not None
    tensors = WorldModel.from_folder(folder).state_dict()
    return {name: value for name, value in tensors.items() if name.startswith(begin)}


@pytest.mark.parametrize("draws_from", ["state", "frames", "frames, no state"])
def test_a_training_begins_at_the_given_weights(draws_from: str, tmp_path: Path) -> None:
    config = WorldModelConfig.tiny() if "no state" in draws_from else model_config(draws_from)
    old = saved(config, tmp_path / "old")
    new = train_world_model(training(tmp_path, old))
    assert new is not None
    assert WorldModel.from_folder(new).config == config
    before, after = weights(old), weights(new)
    assert list(before) == list(after)
    for name, value in after.items():
        # What was fitted to the first dataset stays: the weights were made for it.
        furthest = 0.0 if value.dtype == torch.float64 or name.startswith("first_stage") else FURTHEST
        assert (value - before[name]).abs().max() <= furthest, name
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == ({"unet"} if config.state is None else {"unet", "state_head"})


@pytest.mark.parametrize(("learn", "kept"), [("states", "unet"), ("frames", "state_head")])
def test_one_part_can_be_kept_to_the_bit(learn: str, kept: str, tmp_path: Path) -> None:
    old = saved(model_config("state"), tmp_path / "old")
    new = train_world_model(training(tmp_path, old, learn=learn))
    other = {"unet": "state_head", "state_head": "unet"}[kept]
    before = weights(old)
    assert all(torch.equal(value, before[name]) for name, value in weights(new, kept).items())
    assert not all(torch.equal(value, before[name]) for name, value in weights(new, other).items())


def test_a_training_does_not_go_on_with_other_pretrained_weights(tmp_path: Path) -> None:
    config = training(tmp_path, saved(model_config("state"), tmp_path / "old"))
    assert train_world_model(config) is not None
    old, new = tmp_path / "old", tmp_path / "other"
    words = f"begun with another pretrained: it was .*{old}.*, now it is .*{new}.*; give the same"
    with pytest.raises(ValueError, match=words):
        train_world_model(replace(config, pretrained=saved(model_config("state"), tmp_path / "other")))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"like": Path("any")}, "--pretrained brings the configuration of its model along; leave --like out"),
        ({"model": model_config("state")}, "--pretrained brings .* leave the options of --model out"),
        (
            {"model": model_config("state"), "pretrained": None, "like": Path("any")},
            "--like brings .* --model out",
        ),
        ({"robot_state": True}, "leave --robot-state out"),
        ({"object_state": True}, "leave --object-state out"),
        ({"pretrained": None, "learn": "states"}, "--learn states keeps the other part .*--pretrained"),
        (
            {"stateless": True, "learn": "frames"},
            "--learn frames: the world model in .* predicts no states",
        ),
        ({"data": "larger"}, "--pretrained .* does not fit .*height and width"),
        ({"pretrained": Path("nowhere")}, "nowhere"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_writes_nothing(
    changes: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    config = WorldModelConfig.tiny() if changes.pop("stateless", None) else model_config("state")
    task = training(tmp_path, saved(config, tmp_path / "old"))
    if changes.get("data"):
        changes["data"] = tmp_path / "larger"
        (tmp_path / "larger").mkdir()
        file = tmp_path / "data" / "episode_0.npz"
        with np.load(file) as arrays:
            larger = dict(arrays) | {"image": np.repeat(arrays["image"], 2, axis=1).repeat(2, axis=2)}
        np.savez(tmp_path / "larger" / file.name, **larger)
    with pytest.raises((ValueError, OSError), match=sentence):
        train_world_model(replace(task, **changes))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
