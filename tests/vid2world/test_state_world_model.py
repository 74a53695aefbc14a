"""World models that know the robot's state: lanes, exact copies, files, and training, for each way to draw."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.load import SamplingOverrides
from real2sim.vid2world.state_config import Command
from real2sim.vid2world.training.diffusion_forcing import ForcingConfig
from real2sim.vid2world.training.train_small import TrainWorldModel, train_world_model
from real2sim.vid2world.training.train_states import StateTrainingConfig
from real2sim.vid2world.training.windows import WindowOptimisation
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from tests.vid2world.robot_states import episode, model_config, state_config, write_episodes

KINDS = {
    "drawn from states": model_config("state"),
    "drawn from states by a learned map": model_config("state", drawn=False, learned=2),
    "drawn from frames": model_config("frames"),
    "drawn from frames by a learned map": model_config("frames", drawn=False, gate=False, learned=2),
}


def made(config: WorldModelConfig) -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(config).eval()
    episodes = [episode(np.random.default_rng(seed)) for seed in range(5)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        assert model.state_head is not None
        model.state_head.fit(torch.from_numpy(np.stack([item["state"] for item in episodes])))
    return model


@pytest.fixture(scope="module", params=list(KINDS))
def model(request: pytest.FixtureRequest) -> WorldModel:
    return made(KINDS[request.param])


def lanes(count: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start frames, states there, and actions (steps lanes 13)."""
    episodes = [episode(np.random.default_rng(seed)) for seed in range(count)]
    frames, states = (np.stack([item[name][0] for item in episodes]) for name in ("image", "state"))
    return frames, states, np.stack([item["action"] for item in episodes], axis=1)


def roll(model: WorldModel, frames: np.ndarray, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    state, drawn = model.reset(frames, range(len(frames)), states), []
    for action in actions:
        frame, state = model.step(state, action)
        drawn.append(frame)
    return np.stack(drawn)


def test_the_same_seeds_give_the_same_video_whatever_the_batch(model: WorldModel) -> None:
    frames, states, actions = lanes()
    whole = roll(model, frames, states, actions)
    np.testing.assert_array_equal(whole, roll(model, frames, states, actions))
    alone = roll(model, frames[:1], states[:1], actions[:, :1])
    assert np.abs(whole[:, :1].astype(int) - alone).max() <= 1


def test_lanes_can_be_chosen_and_joined_at_any_age(model: WorldModel) -> None:
    frames, states, actions = lanes()
    whole = roll(model, frames, states, actions)
    state = model.reset(frames, range(3), states)
    for action in actions[:3]:
        _, state = model.step(state, action)
    chosen = state.select([2, 0])
    joined = chosen.join(model.reset(frames[1:2], [1], states[1:2]))
    assert joined is not None
    frame, _ = model.step(joined, np.concatenate([actions[3][[2, 0]], actions[0][1:2]]))
    expected = np.stack([whole[3, 2], whole[3, 0], whole[0, 1]])
    assert np.abs(frame.astype(int) - expected).max() <= 1


def test_the_state_decides_what_is_drawn(model: WorldModel) -> None:
    frames, states, actions = lanes()
    moved = states.copy()
    moved[:, :2] += 0.3
    assert not np.array_equal(
        roll(model, frames, states, actions[:1]), roll(model, frames, moved, actions[:1])
    )


def test_a_saved_model_draws_the_same(model: WorldModel, tmp_path: Path) -> None:
    frames, states, actions = lanes()
    model.save(tmp_path / "model", "# Card")
    again = WorldModel.from_folder(tmp_path / "model")
    assert again.config == model.config
    # Weights are stored as float16.
    difference = roll(again, frames, states, actions[:2]).astype(int) - roll(
        model, frames, states, actions[:2]
    )
    assert np.abs(difference).mean() < 1


def test_without_a_state_at_the_start_it_says_what_is_missing(model: WorldModel) -> None:
    frames, states, _ = lanes()
    with pytest.raises(
        ValueError, match=r"needs the robot's state at each start frame, \(3, 4\), and was given none"
    ):
        model.reset(frames, range(3))
    with pytest.raises(ValueError, match=r"given an array \(3, 2\)"):
        model.reset(frames, range(3), states[:, :2])
    with pytest.raises(ValueError, match="not finite"):
        model.reset(frames, range(3), states * math.nan)
    with pytest.raises(ValueError, match="knows no robot state"):
        WorldModel(WorldModelConfig.tiny()).reset(frames, range(3), states)


def test_frames_before_the_start_change_nothing_where_the_state_says_all_and_are_refused_elsewhere(
    model: WorldModel,
) -> None:
    frames, states, actions = lanes()
    past, past_actions = np.repeat(frames[:, None], 2, axis=1), np.zeros((3, 2, 13), np.float32)
    if model.config.draws_from == "frames":
        with pytest.raises(ValueError, match="give no frames before it"):
            model.reset(frames, range(3), states, past=past, past_actions=past_actions)
        return
    state = model.reset(frames, range(3), states, past=past, past_actions=past_actions)
    np.testing.assert_array_equal(
        model.step(state, actions[0])[0], roll(model, frames, states, actions[:1])[0]
    )


@pytest.mark.slow
@pytest.mark.parametrize("draws_from", ["state", "frames"])
def test_where_the_gate_is_shut_the_start_frame_is_copied_exactly_for_a_thousand_steps(
    draws_from: str,
) -> None:
    model = made(model_config(draws_from))
    with torch.no_grad():
        # The gate's channels come last: shut in the left half of every patch, and open in its right half.
        model.unet.out[-1].weight[48:] = 0
        model.unet.out[-1].bias[48:] = torch.tensor([-9.0, -9.0, 9.0, 9.0] * 4)
    frames, states, actions = lanes(1)
    state = model.reset(frames, [0], states)
    for step in range(1000 if draws_from == "state" else 50):
        frame, state = model.step(state, actions[step % len(actions)])
    left = np.arange(16) % 4 < 2
    np.testing.assert_array_equal(frame[0][:, left], frames[0][:, left])
    assert not np.array_equal(frame[0][:, ~left], frames[0][:, ~left])


def test_channels_that_do_not_fit_are_refused() -> None:
    config = model_config("state")
    with pytest.raises(ValueError, match="64 channels in and 64 out"):
        WorldModelConfig(
            unet=WorldModelConfig.tiny().unet,
            height=16,
            width=16,
            state=config.state,
            draws_from="state",
            copy_gate=True,
        )
    with pytest.raises(ValueError, match='draws_from="state" needs state'):
        WorldModelConfig(unet=UNET_WITHOUT, height=16, width=16, draws_from="state")


UNET_WITHOUT = model_config("state", drawn=False, gate=False).unet


@pytest.mark.slow
@pytest.mark.parametrize("draws_from", ["state", "frames"])
def test_training_goes_on_where_it_was_stopped_and_learns(draws_from: str, tmp_path: Path) -> None:
    data = write_episodes(tmp_path / "data", 12)
    quick = {"steps": 60, "warmup": 5, "learning_rate": 3e-3, "ema": 0, "checkpoint_every": 20}
    config = TrainWorldModel(
        data,
        tmp_path / "out",
        model_config(draws_from),
        ForcingConfig(own_history=0.3, own_depth=2),
        WindowOptimisation(windows=4, frames=4, **quick),  # type: ignore[arg-type]
        states=StateTrainingConfig(Optimisation(**quick), batch=32, unroll=3),  # type: ignore[arg-type]
        max_minutes=0.0,
    )
    assert train_world_model(config) is None
    from dataclasses import replace

    folder = train_world_model(replace(config, max_minutes=math.inf))
    assert folder is not None
    model = WorldModel.from_folder(folder)
    log = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    first, last = (float(line.split('"loss": ')[1].split(",")[0]) for line in (log[0], log[-1]))
    assert last < first
    frames, states, actions = lanes()
    assert roll(model, frames, states, actions).shape == (8, 3, 16, 16, 3)


def test_a_new_model_can_be_like_a_folder(tmp_path: Path) -> None:
    data = write_episodes(tmp_path / "data", 3)
    made(model_config("state")).save(tmp_path / "old", "# Card")
    quick = WindowOptimisation(steps=2, windows=2, frames=2, checkpoint_every=1)
    for number, like in enumerate((tmp_path / "old", tmp_path / "old" / "config.json")):
        config = TrainWorldModel(
            data,
            tmp_path / f"out{number}",
            like=like,
            optimisation=quick,
            states=StateTrainingConfig(quick, unroll=2),
        )
        folder = train_world_model(config)
        assert folder is not None
        assert WorldModel.from_folder(folder).config == model_config("state")


def test_settings_of_denoising_are_refused_by_a_model_that_does_not_denoise() -> None:
    with pytest.raises(ValueError, match="--steps is for world models that denoise"):
        SamplingOverrides(steps=4).applied(made(model_config("state")))
    assert SamplingOverrides(steps=4).applied(made(model_config("frames"))).config.steps == 4


def test_a_frame_that_is_not_finite_is_an_error_and_not_a_picture(model: WorldModel, tmp_path: Path) -> None:
    frames, states, actions = lanes()
    state = model.reset(frames, range(3), states)
    broken = state.condition.clone()
    broken[1] = float("nan")
    with pytest.raises(
        ValueError, match="the world model drew a frame that is not finite, in lane 1 at frame 1"
    ):
        model.step(replace(state, condition=broken), actions[0])
    model.save(tmp_path / "saved", "card")
    with pytest.raises(ValueError, match=re.escape(f"the world model in {tmp_path / 'saved'} drew a frame")):
        WorldModel.from_folder(tmp_path / "saved").step(replace(state, condition=broken), actions[0])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: replace(COMMAND, lead=math.nan), "command 'target': lead must be a finite number, got nan"),
        (lambda: replace(COMMAND, high=1e300), "command 'target': high must be at most"),
        (lambda: replace(COMMAND, action=-1), "command 'target': action must be at least 0, got -1"),
        (lambda: with_command(replace(COMMAND, action=13)), "'target' follows number 13 of an action, .* 0 to 12"),
        (lambda: replace(state_config(), layers=10**9), "state.layers must be at most"),
        (lambda: replace(state_config(), frequencies=1000), "state.frequencies must be at most 16"),
        (lambda: replace(model_config("state"), state=replace(state_config(), commands=(), commands_per_frame=4)),
         "13 numbers of a frame's action are no whole multiple"),
    ],
)  # fmt: skip
def test_a_state_that_no_model_can_follow_is_refused(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


COMMAND = state_config().commands[0]


def with_command(command: Command) -> WorldModelConfig:
    return replace(model_config("state"), state=replace(state_config(), commands=(command,)))
