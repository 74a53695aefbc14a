from __future__ import annotations

import numpy as np
import pytest

from real2sim.actions import ActionBounds, rt1_robot
from real2sim.policies.callable_policy import CallablePolicy
from real2sim.policies.policy import Observation, Policy, StochasticPolicy, observe_frames
from real2sim.policies.random_policy import RandomPolicy
from real2sim.policies.replay import ReplayPolicy
from real2sim.simulation.action_checks import check_actions

FRAMES = np.zeros((3, 8, 8, 3), np.uint8)
ROBOT = rt1_robot(bounds=ActionBounds(world_vector=(-0.06, 0.06)))
INSTRUCTIONS = ["close drawer"] * 3


def roll(policy: Policy, lanes: int, steps: int = 4) -> np.ndarray:
    policy.reset(INSTRUCTIONS[:lanes])
    return np.stack([policy.act(observe_frames(FRAMES[:lanes], INSTRUCTIONS[:lanes])) for _ in range(steps)])


def test_all_of_them_are_policies() -> None:
    assert isinstance(RandomPolicy(ROBOT), StochasticPolicy)
    assert isinstance(ReplayPolicy(np.zeros((1, 1, 13))), Policy)
    assert isinstance(CallablePolicy(lambda observation: np.zeros((1, 13))), Policy)


def test_random_actions_lie_inside_the_bounds() -> None:
    for actions in roll(RandomPolicy(ROBOT, 3), 3):
        check_actions(actions, ROBOT, policy="random", step=0)


def test_a_random_lane_does_not_depend_on_the_batch() -> None:
    np.testing.assert_array_equal(roll(RandomPolicy(ROBOT, 5), 3)[:, :1], roll(RandomPolicy(ROBOT, 5), 1))


def test_a_seed_per_episode_decides_its_actions_in_any_lane() -> None:
    first, second = RandomPolicy(ROBOT), RandomPolicy(ROBOT)
    first.seed([7, 8, 9])
    second.seed([9])
    np.testing.assert_array_equal(roll(first, 3)[:, 2:], roll(second, 1))


def test_every_reset_of_a_random_policy_draws_anew() -> None:
    policy = RandomPolicy(ROBOT)
    assert not np.array_equal(roll(policy, 2), roll(policy, 2))


def test_replay_gives_each_lane_its_recording_and_says_when_it_ends() -> None:
    actions = np.random.default_rng(0).random((3, 4, 13)).astype(np.float32)
    policy = ReplayPolicy(actions)
    np.testing.assert_array_equal(roll(policy, 3), actions.transpose(1, 0, 2))
    with pytest.raises(ValueError, match="4 steps and step 4 was asked for"):
        policy.act(observe_frames(FRAMES))
    np.testing.assert_array_equal(roll(policy, 3), actions.transpose(1, 0, 2))


def test_replay_wants_one_instruction_per_recording() -> None:
    with pytest.raises(ValueError, match="2 instructions for 3 recordings"):
        ReplayPolicy(np.zeros((3, 4, 13))).reset(INSTRUCTIONS[:2])


def test_a_function_sees_frames_and_instructions() -> None:
    def function(observation: Observation) -> np.ndarray:
        assert list(observation.instructions) == INSTRUCTIONS
        return np.full((len(observation), 13), 0.5)

    assert (roll(CallablePolicy(function), 3) == 0.5).all()


@pytest.mark.parametrize("frames", [FRAMES[:2], FRAMES.astype(np.float32), FRAMES[..., :1]])
def test_frames_of_another_number_type_or_shape_are_refused(frames: np.ndarray) -> None:
    policy = RandomPolicy(ROBOT)
    policy.reset(INSTRUCTIONS)
    with pytest.raises(ValueError, match=r"expected uint8 \(3, height, width, 3\)"):
        policy.act(observe_frames(frames))
