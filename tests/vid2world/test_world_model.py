"""The small world model: lanes, seeds, history, files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.actions import WIDTH
from real2sim.vid2world.levels import signal_levels
from real2sim.vid2world.schedule import ddim_timesteps
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig


@pytest.fixture(scope="module")
def model() -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig.tiny()).eval()
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def some_actions(lanes: int, steps: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (steps, lanes, WIDTH)).astype(np.float32)


def roll(model: WorldModel, frames: np.ndarray, seeds: list[int], actions: np.ndarray) -> np.ndarray:
    state, drawn = model.reset(frames, seeds), []
    for action in actions:
        frame, state = model.step(state, action)
        drawn.append(frame)
    return np.stack(drawn)


def test_the_same_seed_gives_the_same_video(model: WorldModel, frames: np.ndarray) -> None:
    actions = some_actions(3, 5)
    np.testing.assert_array_equal(
        roll(model, frames, [1, 2, 3], actions), roll(model, frames, [1, 2, 3], actions)
    )


def test_another_seed_gives_another_video(model: WorldModel, frames: np.ndarray) -> None:
    actions = some_actions(3, 2)
    assert not np.array_equal(
        roll(model, frames, [1, 2, 3], actions), roll(model, frames, [4, 5, 6], actions)
    )


def test_an_episode_alone_equals_the_same_episode_in_a_batch(model: WorldModel, frames: np.ndarray) -> None:
    actions = some_actions(3, 5)
    batch = roll(model, frames, [1, 2, 3], actions)
    alone = roll(model, frames[1:2], [2], actions[:, 1:2])
    assert np.abs(batch[:, 1].astype(int) - alone[:, 0]).max() <= 1


def test_lanes_that_go_on_do_not_notice_that_others_ended(model: WorldModel, frames: np.ndarray) -> None:
    actions = some_actions(3, 4)
    whole = roll(model, frames, [1, 2, 3], actions)
    state = model.reset(frames, [1, 2, 3])
    for action in actions[:2]:
        _, state = model.step(state, action)
    state = state.select([2, 0])
    for index in (2, 3):
        frame, state = model.step(state, actions[index][[2, 0]])
        assert np.abs(frame.astype(int) - whole[index][[2, 0]]).max() <= 1


def test_a_state_can_be_stepped_twice(model: WorldModel, frames: np.ndarray) -> None:
    state = model.reset(frames, [1, 2, 3])
    first, _ = model.step(state, np.zeros((3, WIDTH), np.float32))
    again, _ = model.step(state, np.zeros((3, WIDTH), np.float32))
    np.testing.assert_array_equal(first, again)


def test_actions_matter_where_the_robot_has_the_part_and_nowhere_else(frames: np.ndarray) -> None:
    torch.manual_seed(0)
    scale = (0.0,) * 10 + (1.0,) * 3
    config = WorldModelConfig(unet=WorldModelConfig.tiny().unet, height=16, width=16, action_scale=scale)
    model = WorldModel(config).eval()
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    state = model.reset(frames, [1, 2, 3])
    still = np.zeros((3, WIDTH), np.float32)
    turned, moved = still.copy(), still.copy()
    turned[:, 4:7] = 1
    moved[:, 10:13] = 1
    np.testing.assert_array_equal(model.step(state, still)[0], model.step(state, turned)[0])
    assert not np.array_equal(model.step(state, still)[0], model.step(state, moved)[0])


def test_memory_of_the_past_stops_growing(model: WorldModel, frames: np.ndarray) -> None:
    state, sizes = model.reset(frames, [1, 2, 3]), []
    for action in some_actions(3, 12):
        _, state = model.step(state, action)
        sizes.append(sum(tensor.numel() for tensor in state.cache.tensors))
    assert len(set(sizes[model.config.unet.window :])) == 1


def test_a_saved_model_draws_what_it_drew_to_half_precision(
    model: WorldModel, frames: np.ndarray, tmp_path: Path
) -> None:
    model.save(tmp_path / "model", "# A model\n")
    again = WorldModel.from_folder(tmp_path / "model")
    assert again.config == model.config
    actions = some_actions(3, 2)
    difference = np.abs(
        roll(model, frames, [1, 2, 3], actions).astype(int) - roll(again, frames, [1, 2, 3], actions)
    )
    assert difference.mean() < 2


def test_first_stage_gives_back_what_it_was_given(model: WorldModel, frames: np.ndarray) -> None:
    model.first_stage.fit(np.random.default_rng(5).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8))
    latents = model.first_stage.encode(torch.from_numpy(frames)[None])
    np.testing.assert_array_equal(model.first_stage.decode(latents)[0].numpy(), frames)
    torch.testing.assert_close(model.first_stage.clamp(latents), latents)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((3, WIDTH), np.nan, np.float32), "actions of lane 0 at frame 1 are not finite"),
        (np.zeros((3, 7), np.float32), r"\(3, 7\), expected \(3, 13\)"),
        (np.zeros((2, WIDTH), np.float32), r"expected \(3, 13\)"),
    ],
)
def test_bad_actions_are_refused_in_one_sentence(
    model: WorldModel, frames: np.ndarray, bad: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.step(model.reset(frames, [1, 2, 3]), bad)


def test_bad_frames_are_refused(model: WorldModel, frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        model.reset(frames.astype(np.float32), [1, 2, 3])
    with pytest.raises(ValueError, match="each lane needs one"):
        model.reset(frames, [1])


def test_truncated_weights_are_named(model: WorldModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model", "# A model\n")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="may be truncated"):
        WorldModel.from_folder(tmp_path / "model")


def test_the_last_level_is_pure_noise_and_drawing_begins_there() -> None:
    signal = signal_levels()
    assert signal[999] == 0
    assert (signal[1:] < signal[:-1]).all()
    for count in range(1, 51):
        steps = ddim_timesteps(count)
        assert len(steps) == count
        assert steps[-1] == 999
        assert steps == sorted(set(steps))


def test_several_first_frames_are_the_past_that_drawing_them_would_have_left(
    model: WorldModel, frames: np.ndarray
) -> None:
    actions, seeds = some_actions(len(frames), 4), list(range(len(frames)))
    state = model.reset(frames, seeds)
    seen = [frames]
    for step in range(3):
        drawn, state = model.step(state, actions[step])
        seen.append(drawn)
    begun = model.reset(
        seen[3], seeds, past=np.stack(seen[:3], axis=1), past_actions=actions[:3].swapaxes(0, 1)
    )
    assert begun.frames == state.frames
    torch.testing.assert_close(begun.newest_actions, state.newest_actions)
    # Drawn frames are rounded to grey levels before they are given as past.
    expected, found = model.step(state, actions[3])[0], model.step(begun, actions[3])[0]
    assert np.abs(expected.astype(int) - found).mean() < 2
    other = model.reset(
        seen[3], seeds, past=255 - np.stack(seen[:3], axis=1), past_actions=actions[:3].swapaxes(0, 1)
    )
    assert not np.array_equal(model.step(other, actions[3])[0], found)
    with pytest.raises(ValueError, match="expected one action"):
        model.reset(seen[3], seeds, past=np.stack(seen[:3], axis=1), past_actions=actions[:2].swapaxes(0, 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [("action_scale", (1e30,) + (1.0,) * 12), ("action_scale", (-1e30,) + (1.0,) * 12), ("guidance", 1e30)],
)
def test_numbers_that_no_drawing_survives_are_refused_where_they_are_written(
    field: str, value: object
) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(WorldModelConfig.tiny(), **{field: value})
