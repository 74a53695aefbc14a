"""Rollouts on another device than the processor: nothing stays behind, one wait per step, the same frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import real2sim
from real2sim.cuda_graphs import RecordedCalls
from real2sim.host_copies import to_device, to_host
from real2sim.policies.places import policy_at
from real2sim.simulation.observation import observe
from real2sim.simulation.suite import load_suite
from real2sim.success.judge import open_judge
from real2sim.vid2world.load import load_model
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.model import Vid2World
from real2sim.vid2world.released.sampler import SamplerConfig
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from real2sim.worlds import ModelWorld
from tests.other_device import OTHER, OtherDevice, moved

ASSETS = Path(real2sim.__file__).parent / "assets"
STEPS = 2
POLICIES = [
    *(("drawer", name) for name in ("converged", "chunks", "diffusion", "mixture", "recurrent", "stack")),
    *(("so101", name) for name in ("act", "rt1", "recurrent")),
]


def denoising(**changes: object) -> Any:
    torch.manual_seed(0)
    return stirred(WorldModel(replace(WorldModelConfig.tiny(), **changes)))  # type: ignore[arg-type]


def stirred(model: Any) -> Any:
    """A model none of whose layers answers zero."""
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def released(**changes: object) -> Any:
    torch.manual_seed(0)
    config = Vid2WorldConfig.tiny()
    return stirred(Vid2World(replace(config, sampler=SamplerConfig(**changes))))  # type: ignore[arg-type]


MODELS: dict[str, Callable[[], Any]] = {
    "drawer": lambda: load_model(ASSETS / "drawer" / "world_model"),
    "so101": lambda: load_model(ASSETS / "so101" / "world_model"),
    "denoising": lambda: denoising(steps=2),
    "denoising with guidance and fresh noise": lambda: denoising(steps=2, eta=1.0, guidance=2.0),
    "released": lambda: released(steps=2),
    "released with a cached history": lambda: released(steps=3, guidance=1.0, history="cached"),
}


def begun(model: Any, lanes: int = 2) -> tuple[Any, np.ndarray]:
    """A state of some lanes, and actions (b n) for them."""
    rng = np.random.default_rng(0)
    names = getattr(model, "state_names", ())
    states = [rng.uniform(0, 0.1, (lanes, len(names))).astype(np.float32)] if names else []
    frames = rng.integers(0, 256, (lanes, *model.image_size, 3), dtype=np.uint8)
    width = getattr(model, "action_width", None) or model.config.unet.action_dim
    return model.reset(frames, range(lanes), *states), rng.uniform(-0.1, 0.1, (lanes, width)).astype(
        np.float32
    )


def drawn(model: Any, steps: int = STEPS, lanes: int = 2) -> list[np.ndarray]:
    state, actions = begun(model, lanes)
    frames = []
    for _ in range(steps):
        frame, state = model.step(state, actions)
        frames.append(frame)
        if getattr(model, "state_names", ()):
            frames.append(model.robot_state(state))
    return frames


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if "released" in name else ()) for name in MODELS],
)
def test_a_world_model_draws_the_same_on_another_device_and_waits_once_per_step(name: str) -> None:
    here = drawn(MODELS[name]())
    model = MODELS[name]()
    with OtherDevice() as device:
        moved(model)
        if isinstance(model, WorldModel):
            model._forget_device()
        state, actions = begun(model)
        there = []
        for _ in range(STEPS):
            before = len(device.waits)
            frame, state = model.step(state, actions)
            there.append(frame)
            if getattr(model, "state_names", ()):
                there.append(model.robot_state(state))
            assert device.waits[before:] == ["_to_copy.default"], "frames, checks and state come in one copy"
        state.select([1]).select([0, 0])
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=1e-4, atol=1.0)


def acted(policy: Any, robot: Any, frames: np.ndarray, instruction: str) -> list[np.ndarray]:
    policy.seed([1, 2])
    policy.reset([instruction] * 2)
    state = np.zeros((2, len(robot.state)), np.float32) if robot.state_from is not None else None
    return [policy.act(observe(robot, frames, [instruction] * 2, state)) for _ in range(STEPS)]


@pytest.mark.parametrize(("name", "policy"), POLICIES)
def test_a_policy_acts_the_same_on_another_device_and_waits_once_at_most(name: str, policy: str) -> None:
    suite = load_suite(name)
    task = suite.tasks[0]
    frames = np.stack([start.frame for start in suite.starts(task.name, 2)])
    folder = str(ASSETS / name / "policies" / policy)
    here = acted(policy_at(folder, suite.robot, "a test"), suite.robot, frames, task.instruction)
    other: Any = policy_at(folder, suite.robot, "a test")
    with OtherDevice() as device:
        moved(other.network)
        other._device = OTHER
        there = acted(other, suite.robot, frames, task.instruction)
    np.testing.assert_allclose(np.stack(here), np.stack(there), rtol=1e-3, atol=1e-4)
    assert len(device.waits) <= STEPS


@pytest.mark.parametrize("name", ["drawer", "so101"])
def test_a_judge_decides_the_same_on_another_device(name: str) -> None:
    suite = load_suite(name)
    starts = suite.starts(suite.tasks[0].name, 3)
    videos = [np.stack([start.frame] * 4) for start in starts]
    judge: Any = open_judge(ASSETS / name / "judge")
    names, instructions = ["a", "b", "c"], [start.instruction for start in starts]
    here = judge.judge(names, videos, instructions)
    with OtherDevice():
        moved(judge.network)
        np.testing.assert_allclose(judge.judge(names, videos, instructions), here, rtol=1e-5)


def test_what_is_copied_together_comes_back_as_it_was() -> None:
    given = (torch.tensor([True, False, True]), torch.randn(3, 2), torch.arange(3, dtype=torch.uint8))
    with OtherDevice() as device:
        back = to_host(*(to_device(tensor, OTHER) for tensor in given))
        assert len(device.waits) == 1
    for array, tensor in zip(back, given, strict=True):
        assert array.dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(array, tensor.numpy())
        assert array.flags.owndata or array.flags.writeable


def test_calls_are_not_recorded_on_the_processor() -> None:
    calls = []
    recorded = RecordedCalls(lambda x: (calls.append(1) or x + 1,))  # type: ignore[func-returns-value]
    for _ in range(3):
        torch.testing.assert_close(recorded(torch.ones(2))[0], torch.full((2,), 2.0))
    assert len(calls) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_draws_what_the_processor_draws(name: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = MODELS[name]()
    here = drawn(model, steps=6, lanes=3)
    there = drawn(model.to("cuda"), steps=6, lanes=3)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=1e-3, atol=1.01)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["drawer", "so101", "denoising", "denoising with guidance and fresh noise"])
def test_recorded_steps_draw_what_plain_ones_draw(name: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = MODELS[name]().to("cuda")
    fast = drawn(model, steps=6, lanes=3)
    assert model.recorded.enabled, "nothing stood in the way of recording"
    assert model.recorded._recorded
    model.recorded.enabled = False
    for one, other in zip(fast, drawn(model, steps=6, lanes=3), strict=True):
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=1e-4, atol=1.01)


@pytest.mark.gpu
def test_lanes_that_end_leave_the_others_as_they_were() -> None:
    suite = load_suite("drawer")
    world = ModelWorld(load_model(ASSETS / "drawer" / "world_model", "cuda"), suite.robot)
    starts = suite.starts(suite.tasks[0].name, 5)
    shape = (suite.robot.actions_per_frame, suite.robot.action_width)
    videos = []
    for chosen in ([0, 1, 2, 3, 4], [1, 3]):
        state, frames = world.reset(starts, list(range(5))), []
        for step in range(8):
            if step == 4:
                state = state.select(chosen)
            count = 5 if step < 4 else len(chosen)
            frame, state = world.step(state, np.zeros((count, *shape), np.float32))
            frames.append(frame if count == len(chosen) and count < 5 else frame[[1, 3]])
        videos.append(np.stack(frames).astype(int))
    assert np.abs(videos[0] - videos[1]).max() <= 1
