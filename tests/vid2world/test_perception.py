"""What networks read from frames, and the loss that is made of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from real2sim.actions import WIDTH
from real2sim.drawer.presets import perception_targets
from real2sim.episodes.arrays import write_arrays
from real2sim.training.checkpoint import LOG_FILE
from real2sim.vid2world.training.diffusion_forcing import ForcingConfig
from real2sim.vid2world.training.perception import PerceptionConfig, perceptions, perceptual_loss
from real2sim.vid2world.training.train_small import TrainWorldModel, train_world_model
from real2sim.vid2world.training.windows import WindowOptimisation
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig

ROOT = Path(__file__).parents[2]
SMALL = PerceptionConfig(weight=1.0, targets=("place",), networks=2, steps=120, batch=32, width=8)


def frame(place: float) -> np.ndarray:
    """A bright square whose left edge is ``place`` (0 to 10) pixels from the left."""
    picture = np.full((16, 16, 3), 40, dtype=np.uint8)
    picture[6:11, round(place) : round(place) + 5] = 220
    return picture


def to_network(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(8):
        place = rng.integers(0, 11, 8).astype(np.float32)
        arrays = {
            "image": np.stack([frame(x) for x in place]),
            "action": rng.uniform(-1, 1, (8, WIDTH)).astype(np.float32),
            "place": place,
        }
        write_arrays(folder / f"episode_{index}.npz", arrays)
    return folder


@pytest.fixture(scope="module")
def networks(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> nn.ModuleList:
    return perceptions(SMALL, dataset, tmp_path_factory.mktemp("run"))


@pytest.mark.slow
def test_networks_learn_to_read_the_quantity(networks: nn.ModuleList) -> None:
    places = np.arange(11)
    for network in networks:
        read = network(to_network(np.stack([frame(float(x)) for x in places])))[1][:, 0]
        assert np.corrcoef(read.numpy(), places)[0, 1] > 0.95


def test_the_loss_is_zero_for_equal_frames_and_grows_with_the_distance(networks: nn.ModuleList) -> None:
    recorded = to_network(frame(2)[None])
    losses = [float(perceptual_loss(networks, to_network(frame(x)[None]), recorded)) for x in (2, 4, 8)]
    assert losses[0] == 0
    assert losses[0] < losses[1] < losses[2]


def test_only_the_drawn_frame_is_pulled(networks: nn.ModuleList) -> None:
    drawn = to_network(frame(4)[None]).requires_grad_()
    perceptual_loss(networks, drawn, to_network(frame(2)[None])).backward()
    assert drawn.grad is not None
    assert drawn.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in networks.parameters())


def training(dataset: Path, out: Path, **changes: object) -> TrainWorldModel:
    config = TrainWorldModel(
        dataset,
        out,
        WorldModelConfig.tiny(),
        ForcingConfig(pure=1.0, own_history=0.5),
        WindowOptimisation(steps=4, windows=2, frames=5, warmup=2, checkpoint_every=2),
        replace(SMALL, steps=3),
    )
    return replace(config, **changes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_stopped_training_goes_on_with_the_same_networks(dataset: Path, tmp_path: Path) -> None:
    whole = train_world_model(training(dataset, tmp_path / "whole"))
    assert train_world_model(training(dataset, tmp_path / "parts", max_minutes=1e-9)) is None
    parts = train_world_model(training(dataset, tmp_path / "parts", max_minutes=math.inf))
    assert whole is not None
    assert parts is not None
    weights = WorldModel.from_folder(parts).state_dict()
    for name, tensor in WorldModel.from_folder(whole).state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=0)


def test_what_networks_see_is_part_of_the_loss(dataset: Path, tmp_path: Path) -> None:
    first = []
    for weight in (0.0, 1.0):
        perception = replace(SMALL, steps=3, weight=weight)
        train_world_model(training(dataset, tmp_path / str(weight), perception=perception))
        first.append(json.loads((tmp_path / str(weight) / LOG_FILE).read_text().splitlines()[0])["loss"])
    assert first[1] > first[0]


def test_a_quantity_that_is_not_recorded_is_named(dataset: Path, tmp_path: Path) -> None:
    perception = replace(SMALL, targets=("speed",))
    with pytest.raises(ValueError, match="has no array 'speed'; it holds image, action, place"):
        train_world_model(training(dataset, tmp_path, perception=perception))


def test_networks_of_another_configuration_are_named(dataset: Path, tmp_path: Path) -> None:
    train_world_model(training(dataset, tmp_path, max_minutes=0.0))
    wider = replace(SMALL, steps=3, width=16)
    with pytest.raises(
        ValueError, match=r"perception.safetensors: tensor .* written for another configuration"
    ):
        train_world_model(training(dataset, tmp_path, perception=wider))


SCRIPT = """
from pathlib import Path
from tests.vid2world.test_perception import training
from real2sim.vid2world.training.windows import WindowOptimisation
from real2sim.vid2world.training.train_small import train_world_model
optimisation = WindowOptimisation(steps=2, windows=1, accumulate={accumulate}, frames=4, warmup=1)
train_world_model(training(Path({data!r}), Path({out!r}), optimisation=optimisation))
"""


@pytest.mark.slow
def test_two_processes_equal_one_that_accumulates(dataset: Path, tmp_path: Path) -> None:
    losses = []
    for processes, accumulate in ((1, 2), (2, 1)):
        out, script = tmp_path / str(processes), tmp_path / f"{processes}.py"
        script.write_text(SCRIPT.format(accumulate=accumulate, data=str(dataset), out=str(out)))
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
        subprocess.run([*launch, str(processes), str(script)], check=True, cwd=ROOT, env=environment)
        losses.append([json.loads(row)["loss"] for row in (out / LOG_FILE).read_text().splitlines()])
    assert len(losses[0]) == len(losses[1]) == 1
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_loss_on_nothing_to_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name some with --perception\.targets"):
        perceptions(PerceptionConfig(weight=1.0), tmp_path, tmp_path)


def test_the_drawer_robots_arrays_are_seen_where_a_dataset_holds_them(tmp_path: Path) -> None:
    arrays = {"image": np.zeros((2, 16, 16, 3), np.uint8), "hand": np.zeros((2, 3))}
    write_arrays(tmp_path / "0.npz", arrays)
    assert perception_targets(tmp_path) == ()
    write_arrays(tmp_path / "0.npz", arrays | {"drawer": np.zeros(2)})
    assert perception_targets(tmp_path) == ("hand", "drawer")
