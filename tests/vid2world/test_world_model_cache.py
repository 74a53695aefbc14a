"""Rollouts of the small world model with a cache, against the same frames drawn from the whole window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.windowed import Windowed
from real2sim.actions import WIDTH
from real2sim.vid2world.network.unet import CausalUNet
from real2sim.vid2world.world_model import WorldModel, WorldState
from real2sim.vid2world.world_model_config import WorldModelConfig

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
ACTIONS = np.random.default_rng(1).uniform(-1, 1, (9, 2, WIDTH)).astype(np.float32)


def model(**settings: object) -> WorldModel:
    torch.manual_seed(0)
    drawn = WorldModel(replace(WorldModelConfig.tiny(), **settings)).eval()
    with torch.no_grad():
        for parameter in drawn.unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return drawn


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Frames in each pass of a network from here on."""
    found: list[int] = []
    run = CausalUNet._pass

    def count(self: CausalUNet, x: torch.Tensor, *rest: object, **named: object) -> object:
        found.append(x.shape[0] * x.shape[2])
        return run(self, x, *rest, **named)

    monkeypatch.setattr(CausalUNet, "_pass", count)
    yield found


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize(("steps", "eta", "prediction"), [(1, 0.0, "x0"), (4, 0.0, "v"), (3, 1.0, "x0")])
@torch.inference_mode()
def test_cached_frames_equal_those_drawn_from_all_frames_before(
    steps: int, eta: float, prediction: str, guidance: float
) -> None:
    """Over nine frames with a window of four: most of the history has left it."""
    cached = model(steps=steps, eta=eta, prediction=prediction, guidance=guidance)
    whole = Windowed(cached, history=len(ACTIONS))
    state, other = cached.reset(FRAMES, [1, 2]), whole.reset(FRAMES, [1, 2])
    for action in ACTIONS:
        _, state = cached.step(state, action)
        _, other = whole.step(other, action)
        torch.testing.assert_close(state.newest, other.latents[:, :, -1:], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("guidance", "cost"), [(1.0, 6), (1.5, 11)])
def test_a_frame_costs_the_same_passes_whatever_the_history(
    guidance: float, cost: int, passes: list[int]
) -> None:
    drawing = model(steps=5, guidance=guidance)
    assert drawing.frame_passes_per_frame == cost
    drawing.reset(FRAMES[:1], [1])  # The first time it asks the network what a cache looks like.
    passes.clear()
    state = drawing.reset(FRAMES[:1], [1])
    assert passes == [], "the start frame is written into the history when the first frame is drawn"
    for action in ACTIONS:
        passes.clear()
        _, state = drawing.step(state, action[:1])
        assert sum(passes) == cost
        assert len(passes) == (5 if guidance == 1 else 6)


def held(state: WorldState) -> int:
    """Bytes that a state keeps alive, shared ones once."""
    tensors = (*state.cache.tensors, state.newest, state.newest_actions, state.condition)
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@pytest.mark.slow
def test_memory_of_a_lane_is_constant_over_a_thousand_steps() -> None:
    drawing = model(steps=1)
    state, sizes = drawing.reset(FRAMES[:1], [1]), []
    for step in range(1000):
        _, state = drawing.step(state, ACTIONS[step % len(ACTIONS), :1])
        sizes.append(held(state))
    assert len(set(sizes[drawing.config.unet.window + 1 :])) == 1
    assert all(tensor.isfinite().all() for tensor in state.cache.tensors)
