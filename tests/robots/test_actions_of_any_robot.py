"""Actions of robots other than RT-1's: checks, chunks, tokens, scales, sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from real2sim.policies.chunks import ChunkBuffer
from real2sim.policies.rt1.config import RT1Config
from real2sim.robot import ActionNumber, Camera
from real2sim.simulation.action_checks import check_actions
from real2sim.vid2world.world_model_config import WorldModelConfig
from tests.robots.made_up_robots import SIX_JOINTS, TWO_ARMS


def test_an_action_outside_its_bounds_is_named_with_its_place_in_the_frame() -> None:
    actions = np.zeros((2, 5, 6))
    actions[1, 3, 2] = 200
    with pytest.raises(
        ValueError, match=r"lane 1, step 4, action 3 of 5: elbow_flex.pos is 200, allowed is -100 to 110"
    ):
        check_actions(actions, SIX_JOINTS, policy="mine", step=4)


@pytest.mark.parametrize("shape", [(2, 6), (2, 4, 6), (2, 5, 7), (3, 5, 6), (2, 30)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"have shape .*, expected \(2, 5, 6\)"):
        check_actions(np.zeros(shape), SIX_JOINTS, policy="mine", step=0, lanes=2)


def test_a_single_number_ends_an_episode_above_a_half() -> None:
    robot = replace(SIX_JOINTS, action=(*SIX_JOINTS.action, ActionNumber("done", 0, 1)), terminate=("done",))
    actions = np.zeros((3, 7))
    actions[:, 6] = (0.4, 0.5, 0.6)
    assert robot.terminates(actions).tolist() == [False, False, True]
    assert not SIX_JOINTS.terminates(np.ones((2, 6))).any()


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_a_chunk_is_executed_in_order_and_its_odd_rest_dropped(
    per_frame: int, frames: int, lanes: int
) -> None:
    buffer = ChunkBuffer(lanes, per_frame)
    chunks = np.arange(lanes * (frames * per_frame + per_frame - 1)).reshape(lanes, -1, 1)
    for lane in buffer.needs():
        buffer.put(lane, chunks[lane])
    taken = np.concatenate([buffer.take_all() for _ in range(frames)], axis=1)
    np.testing.assert_array_equal(taken, chunks[:, : frames * per_frame])
    assert buffer.needs() == list(range(lanes))


def test_of_a_longer_chunk_only_what_is_asked_for_is_executed() -> None:
    buffer = ChunkBuffer(1, per_frame=2, execute=4)
    buffer.put(0, np.arange(10)[:, None])
    assert [buffer.take(0)[:, 0].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    assert buffer.needs() == [0]


def test_chunks_that_do_not_fill_a_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="execute is 3, which is no multiple of the 2 actions"):
        ChunkBuffer(1, 2, 3)
    with pytest.raises(ValueError, match=r"lane 0: a chunk has shape \(1, 6\), expected \(m, n\)"):
        ChunkBuffer(1, 2).put(0, np.zeros((1, 6)))
    with pytest.raises(ValueError, match="lane 0 has no actions left"):
        ChunkBuffer(1).take(0)


@given(st.lists(st.floats(-100, 110, width=32), min_size=30, max_size=30))
def test_tokens_are_read_back_within_half_a_bin(values: list[float]) -> None:
    config = RT1Config.tiny().for_robot(SIX_JOINTS)
    assert config.action_tokens == 30
    actions = np.array(values, np.float32).reshape(1, 5, 6)
    tokens = config.tokens_of(actions)
    assert tokens.shape == (1, 30)
    assert np.abs(config.actions_of(tokens) - actions).max() <= 210 / 255 / 2 + 1e-4
    np.testing.assert_array_equal(config.tokens_of(config.actions_of(tokens)), tokens)


def test_the_scale_brings_every_number_to_a_range_of_two() -> None:
    assert SIX_JOINTS.world_action_scale == pytest.approx((2 / 210,) * 30)
    assert TWO_ARMS.world_action_scale == pytest.approx((2 / 6.4,) * 14)
    ignored = replace(SIX_JOINTS, action=(replace(SIX_JOINTS.action[0], used=False), *SIX_JOINTS.action[1:]))
    assert ignored.world_action_scale[:2] == (0, 2 / 210)


def test_a_canvas_that_does_not_fit_is_answered_with_sizes_that_do() -> None:
    robot = replace(SIX_JOINTS, cameras=(Camera("front", 30, 50),))
    with pytest.raises(
        ValueError,
        match=r"frames of robot 'six joints' are 30 x 50 pixels; .* multiples of 16, for example 32 x 48 or 32 x 64",
    ):
        WorldModelConfig.small().for_robot(robot)
