from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.actions import pack
from real2sim.policies.callable_policy import CallablePolicy
from real2sim.policies.random_policy import RandomPolicy
from real2sim.simulation.lanes import Lanes
from real2sim.simulation.loop import Episode, Job, episode_seed, play
from real2sim.simulation.observation import Observation
from real2sim.simulation.suite import Suite
from real2sim.vid2world.world_model import WorldModel, WorldState
from real2sim.worlds import ModelWorld

TASK = "close_drawer"


@pytest.fixture(scope="module")
def suite(tiny_suite: Path) -> Suite:
    return Suite.from_folder(tiny_suite)


@pytest.fixture(scope="module")
def world(tiny_suite: Path) -> ModelWorld:
    return ModelWorld(WorldModel.from_folder(tiny_suite / "world_model"), Suite.from_folder(tiny_suite).robot)


def jobs(suite: Suite, count: int) -> list[Job]:
    starts = suite.starts(TASK, count)
    return [Job("p", start, episode_seed(0, suite.name, TASK, start.id)) for start in starts]


def by_start(episodes: list[Episode]) -> dict[str, Episode]:
    return {episode.job.start.id: episode for episode in episodes}


def test_an_episode_alone_is_the_episode_in_a_batch(suite: Suite, world: ModelWorld) -> None:
    together = by_start(list(play(world, RandomPolicy(suite.robot), suite, jobs(suite, 4))))
    for job in jobs(suite, 4):
        (alone,) = play(world, RandomPolicy(suite.robot), suite, [job])
        batched = together[job.start.id]
        np.testing.assert_array_equal(alone.actions, batched.actions)
        # Float32 sums depend on the batch size, and rounding to grey levels can show it by one.
        difference = np.abs(alone.frames.astype(int) - batched.frames.astype(int))
        assert difference.max() <= 1


def test_the_order_of_the_lanes_does_not_matter(suite: Suite, world: ModelWorld) -> None:
    forward = by_start(list(play(world, RandomPolicy(suite.robot), suite, jobs(suite, 3))))
    backward = by_start(list(play(world, RandomPolicy(suite.robot), suite, jobs(suite, 3)[::-1])))
    for start, episode in forward.items():
        assert np.abs(episode.frames.astype(int) - backward[start].frames.astype(int)).max() <= 1


def test_the_seed_of_an_episode_depends_on_run_suite_task_and_start_alone() -> None:
    seeds = {
        episode_seed(run, suite, task, start)
        for run in (0, 1)
        for suite in "ab"
        for task in "ab"
        for start in "ab"
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert episode_seed(0, "drawer", "close_drawer", "0") == episode_seed(0, "drawer", "close_drawer", "0")


def test_an_episode_has_one_frame_more_than_actions_and_counts_its_cost(
    suite: Suite, world: ModelWorld
) -> None:
    (episode,) = play(world, RandomPolicy(suite.robot), suite, jobs(suite, 1))
    horizon = suite.task(TASK).horizon
    assert episode.frames.shape == (horizon + 1, 16, 16, 3)
    assert episode.actions.shape == (horizon, 13)
    assert episode.truncated
    assert not episode.terminated
    assert episode.frame_passes == horizon * world.frame_passes_per_frame
    np.testing.assert_array_equal(episode.frames[0], episode.job.start.frame)


def test_a_lane_that_asks_to_end_drops_out_and_the_others_go_on(suite: Suite, world: ModelWorld) -> None:
    calls = []

    def act(observation: Observation) -> np.ndarray:
        calls.append(len(observation))
        actions = np.zeros((len(observation), 13), dtype=np.float32)
        actions[0, 7] = len(calls) == 2
        return actions

    first, second = play(world, CallablePolicy(act), suite, jobs(suite, 2))
    assert (first.terminated, len(first.actions)) == (True, 2)
    assert (second.truncated, len(second.actions)) == (True, suite.task(TASK).horizon)
    assert calls == [2] * suite.task(TASK).horizon, "the policy keeps its lanes"


def test_fields_that_the_robot_lacks_are_zero_before_the_world_sees_them(
    suite: Suite, world: ModelWorld
) -> None:
    turn = pack({"rotation_delta": np.ones((1, 3)), "world_vector": np.full((1, 3), 0.01)})
    (episode,) = play(world, CallablePolicy(lambda observation: turn), suite, jobs(suite, 1))
    expected = np.repeat(pack({"world_vector": np.full((1, 3), 0.01)}), len(episode.actions), axis=0)
    np.testing.assert_array_equal(episode.actions, expected)


@pytest.mark.parametrize(
    ("actions", "complaint"),
    [
        (np.full((2, 13), np.nan), "policy 'p', lane 0, step 0"),
        (np.zeros((2, 12)), r"shape \(2, 12\), expected \(2, 13\)"),
        (np.zeros((1, 13)), r"shape \(1, 13\), expected \(2, 13\)"),
        (pack({"world_vector": np.full((2, 3), 0.2)}), r"world_vector.x is 0.2, allowed is -0.06 to 0.06"),
    ],
)
def test_a_bad_action_is_one_sentence(
    suite: Suite, world: ModelWorld, actions: np.ndarray, complaint: str
) -> None:
    policy = CallablePolicy(lambda observation: actions)
    with pytest.raises(ValueError, match=complaint):
        list(play(world, policy, suite, jobs(suite, 2)))


class CountingWorld(ModelWorld):
    """A world that remembers how many lanes it drew in each call."""

    calls: list[int]

    def step(self, state: WorldState, actions: np.ndarray) -> tuple[np.ndarray, WorldState]:
        self.calls.append(len(actions))
        return super().step(state, actions)


def test_lanes_begin_again_at_any_time_without_disturbing_the_others(suite: Suite, world: ModelWorld) -> None:
    first, second, third = suite.starts(TASK, 3)
    action = pack({"world_vector": np.full((2, 3), 0.03)})
    counting = CountingWorld(world._model, suite.robot)
    counting.calls = []
    lanes = Lanes(counting, suite, 2)
    lanes.begin([0, 1], [first, second], [1, 2])
    lanes.step(action)
    lanes.begin([0], [third], [3])
    frames = [lanes.step(action).frames for _ in range(2)]
    assert counting.calls == [2, 2, 2], "lanes of different ages are one batch"
    alone = Lanes(world, suite, 2)
    alone.begin([0, 1], [third, second], [3, 2])
    expected = [alone.step(action).frames for _ in range(3)]
    assert np.abs(frames[1][0].astype(int) - expected[1][0]).max() <= 1
    assert np.abs(frames[1][1].astype(int) - expected[2][1]).max() <= 1


def test_stepping_after_all_have_ended_is_an_error(suite: Suite, world: ModelWorld) -> None:
    lanes = Lanes(world, suite, 1)
    with pytest.raises(RuntimeError, match="every episode has ended"):
        lanes.step(np.zeros((1, 13)))
