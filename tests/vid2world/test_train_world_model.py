"""Training of the small world model: what it optimises, and that it can be stopped anywhere."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.actions import WIDTH
from real2sim.episodes.arrays import write_arrays
from real2sim.training.optimisation import Optimisation, learning_rate
from real2sim.vid2world.levels import signal_levels
from real2sim.vid2world.training.diffusion_forcing import (
    PURE,
    ForcingConfig,
    add_noise,
    clean_from,
    draw_levels,
    motion_weights,
)
from real2sim.vid2world.training.train_small import TrainWorldModel, train_world_model
from real2sim.vid2world.training.windows import WindowOptimisation
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        image = rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
        action = rng.uniform(-1, 1, (8, WIDTH)).astype(np.float32)
        write_arrays(folder / f"episode_{index}.npz", {"image": image, "action": action})
    return folder


def training(dataset: Path, out: Path, **changes: object) -> TrainWorldModel:
    optimisation = WindowOptimisation(steps=6, windows=2, frames=5, warmup=2, checkpoint_every=2)
    config = TrainWorldModel(
        dataset, out, WorldModelConfig.tiny(), ForcingConfig(own_history=0.5), replace(optimisation, seed=3)
    )
    return replace(config, **changes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_stopped_training_equals_one_that_was_not(dataset: Path, tmp_path: Path) -> None:
    whole = train_world_model(training(dataset, tmp_path / "whole"))
    assert train_world_model(training(dataset, tmp_path / "parts", max_minutes=0.0)) is None
    halfway = training(dataset, tmp_path / "parts")
    first = replace(halfway.optimisation, steps=6)
    for minutes in (1e-9, 1e-4, math.inf):
        parts = train_world_model(replace(halfway, optimisation=first, max_minutes=minutes))
    assert whole is not None
    assert parts is not None
    for name, tensor in WorldModel.from_folder(whole).state_dict().items():
        torch.testing.assert_close(WorldModel.from_folder(parts).state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.slow
def test_training_lowers_the_error(dataset: Path, tmp_path: Path) -> None:
    optimisation = WindowOptimisation(
        steps=60, windows=4, frames=5, warmup=5, checkpoint_every=60, learning_rate=3e-3
    )
    config = training(dataset, tmp_path / "run", optimisation=optimisation, forcing=ForcingConfig())
    train_world_model(config)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]


def test_continuing_with_another_model_is_refused(dataset: Path, tmp_path: Path) -> None:
    train_world_model(training(dataset, tmp_path / "run"))
    other = replace(WorldModelConfig.tiny(), prediction="v")
    with pytest.raises(ValueError, match="begun with another model"):
        train_world_model(training(dataset, tmp_path / "run", model=other))


def test_velocity_and_clean_frame_say_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (
        torch.randn(2, 3, 4, 5, 5, generator=generator),
        torch.randn(2, 3, 4, 5, 5, generator=generator),
    )
    alpha = signal_levels()[torch.tensor([[10, 400, 700, 998]] * 2)]
    x = add_noise(clean, noise, alpha)
    spread = alpha[:, None, :, None, None]
    velocity = spread.sqrt() * noise - (1 - spread).sqrt() * clean
    torch.testing.assert_close(clean_from(velocity, x, alpha, "v"), clean, atol=1e-5, rtol=1e-5)
    assert clean_from(clean, x, alpha, "x0") is clean


def test_levels_are_valid_and_windows_begin_nearly_clean() -> None:
    config = ForcingConfig()
    levels = draw_levels(config, 500, 6, torch.Generator().manual_seed(0))
    assert levels.min() >= 0
    assert levels.max() == 999
    assert (levels[:, 0] < config.clean_below).all()
    share = (levels[:, 1:] < config.clean_below).float().mean()
    assert 0.35 < share < 0.45


def test_in_alternating_windows_every_drawn_frame_follows_a_finished_one() -> None:
    config = ForcingConfig(independent=0.0, alternating=1.0)
    levels = draw_levels(config, 50, 7, torch.Generator().manual_seed(0))
    drawn = levels == PURE
    assert (levels[~drawn] < config.clean_below).all()
    assert not (drawn[:, 1:] & drawn[:, :-1]).any()
    # Either phase: frames 1, 3, 5 or frames 2, 4, 6.
    assert set(drawn.sum(dim=1).tolist()) == {3}
    assert drawn[:, 1].any()
    assert drawn[:, 2].any()


def test_moving_patches_and_their_neighbours_weigh_more() -> None:
    latents = torch.zeros(1, 2, 2, 5, 5)
    latents[:, :, 1, 2, 2] = 1
    weights = motion_weights(latents, 3.0)
    assert weights[0, 0, 0].unique().tolist() == [1.0]
    assert weights[0, 0, 1, 1:4, 1:4].unique().tolist() == [4.0]
    assert weights[0, 0, 1].sum() == 9 * 4 + 16


def test_learning_rate_rises_stays_and_falls_to_zero() -> None:
    config = Optimisation(steps=100, warmup=10, decay_from=0.5, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[20] == rates[49] == 1.0
    assert rates[100] == pytest.approx(0.0)
    assert rates[50:] == sorted(rates[50:], reverse=True)
    constant = replace(config, decay_from=1.0)
    assert learning_rate(100, constant) == learning_rate(10, constant) == 1.0
