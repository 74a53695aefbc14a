from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real2sim.actions import FIELDS
from real2sim.episodes.arrays import write_arrays
from real2sim.metrics.policy_consistency import (
    RecordedEpisodes,
    actions_along,
    draw_again,
    measure_consistency,
)
from real2sim.policies.policy import Observation
from real2sim.simulation.suite import Start, Suite, load_suite
from real2sim.worlds import open_world

MOVE = FIELDS["world_vector"]


class Brightness:
    """Moves in x by how bright the newest of ``memory`` frames are on average."""

    def __init__(self, memory: int = 1) -> None:
        self.memory = memory

    def reset(self, instructions: Sequence[str]) -> None:
        self.seen: list[np.ndarray] = []

    def act(self, observation: Observation) -> np.ndarray:
        self.seen = [*self.seen, observation.frames.mean(axis=(1, 2, 3))][-self.memory :]
        actions = np.zeros((len(observation), 13), np.float32)
        actions[:, MOVE.start] = 0.06 * (np.mean(self.seen, axis=0) / 127.5 - 1)
        return actions


class Blind:
    """Does the same whatever it sees."""

    def reset(self, instructions: Sequence[str]) -> None:
        self.step = 0

    def act(self, observation: Observation) -> np.ndarray:
        self.step += 1
        actions = np.zeros((len(observation), 13), np.float32)
        actions[:, MOVE.start] = 0.01 * (self.step % 3)
        return actions


class Recorder:
    """A world that draws the recorded frames, brighter by ``error`` grey levels, or brighter and darker in turns."""

    name, frame_passes_per_frame = "recorder", 0

    def __init__(self, recorded: RecordedEpisodes, error: int = 0, alternating: bool = False) -> None:
        self.recorded, self.error, self.alternating = recorded, error, alternating

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> list[tuple[int, int]]:
        names = [start.id for start in self.recorded.starts]
        places = [start.id.rpartition("-") for start in starts]
        return [(names.index(name), int(moment)) for name, _, moment in places]

    def step(self, state: list[tuple[int, int]], actions: np.ndarray) -> tuple[np.ndarray, Any]:
        for (episode, moment), action in zip(state, actions, strict=True):
            np.testing.assert_array_equal(action, self.recorded.actions[episode, moment])
        state = [(episode, moment + 1) for episode, moment in state]
        frames = np.stack([self.recorded.frames[place] for place in state])
        signs = [1 - 2 * (moment % 2) if self.alternating else 1 for _, moment in state]
        errors = self.error * np.array(signs)[:, None, None, None]
        return (frames.astype(int) + errors).clip(0, 255).astype(np.uint8), state

    def robot_state(self, state: Any) -> None:
        return None

    def outcomes(self, state: Any) -> None:
        return None


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    return load_suite(str(tiny_suite))


@pytest.fixture
def recorded(tmp_path: Path, suite: Suite) -> RecordedEpisodes:
    """Six episodes of twelve steps whose brightness jumps about."""
    rng = np.random.default_rng(0)
    for index in range(6):
        grey = rng.integers(40, 200, size=(13, 1, 1, 1))
        episode = {
            "image": np.broadcast_to(grey, (13, 16, 16, 3)).astype(np.uint8),
            "action": rng.uniform(-0.05, 0.05, (13, 13)).astype(np.float32),
            "instruction": np.array(suite.tasks[index % 2].instruction),
        }
        write_arrays(tmp_path / "recorded" / f"episode_{index:05d}.npz", episode)
    return RecordedEpisodes.from_folder(tmp_path / "recorded", suite)


def distance(
    policy: Any,
    suite: Suite,
    recorded: RecordedEpisodes,
    error: int,
    depth: int = 3,
    alternating: bool = False,
) -> Any:
    world = Recorder(recorded, error, alternating)
    redrawn = draw_again(world, recorded, begins=(0, 4, 9), depth=depth, lanes=4)
    return measure_consistency(
        "policy", policy, suite.robot, recorded, redrawn, recorded.instructions, "close_drawer"
    )


@pytest.mark.parametrize("policy", [Brightness(), Brightness(memory=3), Blind()])
def test_in_a_world_that_draws_what_was_recorded_every_policy_is_consistent(
    suite: Suite, recorded: RecordedEpisodes, policy: Any
) -> None:
    measured = distance(policy, suite, recorded, error=0)
    assert measured.distance == 0
    assert measured.shift == 0


def test_the_distance_is_the_difference_of_actions_in_spreads_of_the_policys_own(
    suite: Suite, recorded: RecordedEpisodes
) -> None:
    measured = distance(Brightness(), suite, recorded, error=20)
    spread = recorded.frames[:, :-1, 0, 0, 0].astype(float).std()
    assert measured.distance == pytest.approx(20 / spread, rel=1e-4)
    assert measured.shift == pytest.approx(20 / spread, rel=1e-4)
    assert measured.at_depth == pytest.approx({1: 20 / spread}, rel=1e-4)
    # The last beginning leaves two frames on which the policy still acts.
    assert measured.moments == 6 * (3 + 3 + 2)


def test_a_difference_lasts_if_it_steers_one_way_along_a_drawn_sequence(
    suite: Suite, recorded: RecordedEpisodes
) -> None:
    steady = distance(Brightness(), suite, recorded, error=20, depth=2)
    assert steady.lasting == pytest.approx(
        20 / 127.5, rel=1e-4
    )  # the policy moves the whole range over 127.5 levels
    turning = distance(Brightness(), suite, recorded, error=20, depth=2, alternating=True)
    assert turning.distance == pytest.approx(steady.distance, rel=1e-4)
    assert turning.lasting == pytest.approx(0, abs=1e-6)


def test_a_policy_that_remembers_is_misled_by_every_drawn_frame_it_remembers(
    suite: Suite, recorded: RecordedEpisodes
) -> None:
    measured = distance(Brightness(memory=3), suite, recorded, error=20, depth=3)
    whole = distance(Brightness(memory=3), suite, recorded, error=60, depth=3)
    assert measured.distance < 20 / recorded.frames[:, :-1, 0, 0, 0].std() * 3
    assert whole.distance == pytest.approx(3 * measured.distance, rel=0.05)


def test_a_policy_that_looks_at_nothing_is_consistent_in_any_world(
    suite: Suite, recorded: RecordedEpisodes
) -> None:
    assert distance(Blind(), suite, recorded, error=60).distance == 0


def test_actions_along_frames_do_not_depend_on_the_batch(suite: Suite, recorded: RecordedEpisodes) -> None:
    together = actions_along(Brightness(2), suite.robot, recorded.frames, recorded.instructions)
    alone = actions_along(Brightness(2), suite.robot, recorded.frames[2:3], recorded.instructions[2:3])
    np.testing.assert_array_equal(together[2:3], alone)


def test_a_world_model_draws_from_the_recorded_moments_whatever_the_lanes(
    suite: Suite, recorded: RecordedEpisodes
) -> None:
    world = open_world("world_model", suite)
    few, many = (draw_again(world, recorded, begins=(0, 5), depth=2, lanes=lanes) for lanes in (2, 6))
    assert few.frames.shape == (2, 6, 2, 16, 16, 3)
    assert np.abs(few.frames.astype(int) - many.frames).max() <= 1


def test_episodes_of_unknown_tasks_and_short_ones_are_refused(
    tmp_path: Path, suite: Suite, recorded: RecordedEpisodes
) -> None:
    with pytest.raises(ValueError, match="the recorded episodes have 12 steps, fewer than the 20"):
        draw_again(Recorder(recorded), recorded, depth=20)
    episode = {
        "image": recorded.frames[0],
        "action": np.zeros((13, 13), np.float32),
        "instruction": np.array("sing"),
    }
    write_arrays(tmp_path / "other" / "episode.npz", episode)
    with pytest.raises(ValueError, match="was recorded for 'sing', suite 'tiny' has"):
        RecordedEpisodes.from_folder(tmp_path / "other", suite)
