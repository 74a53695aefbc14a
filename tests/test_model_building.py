from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from real2sim.model_building import SPARE, build_module


def tensors(width: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(3, width), "bias": torch.zeros(3)}


def test_a_module_gets_the_stored_weights_and_no_random_number_is_drawn() -> None:
    before = torch.random.get_rng_state()
    module = build_module(lambda: nn.Linear(2, 3), tensors(2), "model.safetensors")
    assert torch.equal(module.weight, torch.ones(3, 2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("wide", [SPARE, 10**13])
def test_a_configuration_far_larger_than_its_weights_is_refused_before_memory_is_asked_for(wide: int) -> None:
    with pytest.raises(
        ValueError, match=r"m.safetensors holds 9 numbers, its configuration asks for [\d,]+ or more"
    ):
        build_module(lambda: nn.Linear(wide, 3), tensors(2), "m.safetensors")


def test_endless_layers_are_refused_as_they_add_up() -> None:
    def endless() -> nn.Sequential:
        layers = nn.Sequential()
        while True:
            layers.append(nn.Linear(1000, 1000))

    with pytest.raises(ValueError, match="was it written for another configuration"):
        build_module(endless, tensors(2), "m.safetensors")


def test_shapes_that_disagree_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"tensor 'weight' has shape \(3, 2\), the configuration asks for \(3, 4\)"
    ):
        build_module(lambda: nn.Linear(4, 3), tensors(2), "m.safetensors")


def test_loading_the_shipped_models_does_not_import_torchs_compiler() -> None:
    code = """
import sys
from real2sim.policies.trained import load_policy
from real2sim.vid2world.world_model import WorldModel
from pathlib import Path
import real2sim
assets = Path(real2sim.__file__).parent / "assets" / "drawer"
WorldModel.from_folder(assets / "world_model")
load_policy(assets / "policies" / "converged")
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
