"""SamplingOverrides with a compiled network: the same frames, and few compilations."""

from __future__ import annotations

import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.actions import WIDTH
from real2sim.vid2world.load import SamplingOverrides
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
ACTIONS = np.random.default_rng(1).uniform(-1, 1, (6, 4, WIDTH)).astype(np.float32)


def model() -> WorldModel:
    torch.manual_seed(0)
    tiny = WorldModelConfig.tiny()
    unet = replace(tiny.unet, channel_mult=(1,), attention_resolutions=())  # compiled in half the time
    drawn = WorldModel(replace(tiny, unet=unet)).eval()
    with torch.no_grad():
        for parameter in drawn.unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return drawn


@pytest.mark.slow
def test_compiled_frames_equal_the_others_while_lanes_come_and_go() -> None:
    plain = model()
    try:
        fast = SamplingOverrides(compile=True).applied(model())
    except ValueError as error:
        pytest.skip(str(error))
    torch._dynamo.utils.counters.clear()
    states = [world.reset(FRAMES, range(4)) for world in (plain, fast)]
    for step, lanes in enumerate((4, 4, 3, 2)):
        states = [state.select(range(lanes)) for state in states]
        (_, expected), (_, found) = (
            world.step(state, ACTIONS[step, :lanes])
            for world, state in zip((plain, fast), states, strict=True)
        )
        torch.testing.assert_close(found.newest, expected.newest, rtol=0, atol=1e-4)
        states = [expected, found]
    # One graph for four lanes, and one for any other number above one.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


def test_a_machine_that_cannot_compile_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="no no-such-compiler here; install one, or draw without --compile"):
        SamplingOverrides(compile=True).applied(model())
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(ValueError, match=r"there is no .*Python\.h; install them"):
        SamplingOverrides(compile=True).applied(model())
