"""Trainings on another device than the processor: nothing stays behind, and the loss is the same."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.training.loop import TrainingTask, run_training
from tests.other_device import OTHER, OtherDevice, OtherTensor, moved
from tests.training.small_trainings import OPTIMISATION, TRAININGS


def first_loss(task: TrainingTask) -> torch.Tensor:
    torch.manual_seed(0)
    return task.loss(task.trained, 0, np.random.default_rng(0))["loss"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "released" in name else ()) for name in TRAININGS]
)
def test_a_loss_meets_no_tensor_of_the_processor_on_another_device(name: str, tmp_path: Path) -> None:
    task = TRAININGS[name](tmp_path)
    here = first_loss(task)
    with OtherDevice():
        moved(task.model)
        there = first_loss(task)
        assert isinstance(there, OtherTensor)
        there.backward()
        torch.testing.assert_close(there.cpu(), here, rtol=1e-5, atol=1e-6)
        graded = [parameter.grad for parameter in task.trained.parameters() if parameter.grad is not None]
    assert graded
    assert all(isinstance(gradient, OtherTensor) for gradient in graded)


def test_a_tensor_left_on_the_processor_is_noticed() -> None:
    with OtherDevice():
        there = torch.ones(3).to(OTHER)
        assert torch.equal((2.0 * there + torch.tensor(1.0)).cpu(), torch.full((3,), 3.0)), "numbers may"
        with pytest.raises(RuntimeError, match="a tensor \\(3,\\) of the processor met"):
            there + torch.ones(3)


def test_waiting_for_the_other_device_is_counted() -> None:
    with OtherDevice() as device:
        there = torch.ones(3).to(OTHER).exp().sum()
        assert device.waits == []
        float(there)
        there.cpu()
        assert len(device.waits) == 2


@pytest.mark.gpu
@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_on_a_gpu_begins_with_the_loss_of_the_processor_and_goes_on(
    name: str, tmp_path: Path, device: str = "cuda"
) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    task = TRAININGS[name](tmp_path)
    fresh, losses = copy.deepcopy(task), {}
    for place in ("cpu", device):
        task.model.to(place)
        losses[place] = float(first_loss(task).detach())
    assert losses[device] == pytest.approx(losses["cpu"], rel=1e-4, abs=1e-4)
    quick = dataclasses.replace(OPTIMISATION, steps=4, checkpoint_every=2, device=device)  # type: ignore[arg-type]
    assert run_training(copy.deepcopy(fresh), quick, tmp_path / "run")
    assert run_training(fresh, dataclasses.replace(quick, steps=8), tmp_path / "run"), "and goes on"
