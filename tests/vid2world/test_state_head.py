"""The prediction of a robot's next state: what is computed, what is learned, and what stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.actions import WIDTH
from real2sim.episodes.arrays import write_arrays
from real2sim.robot import ActionNumber, Robot, StateNumber
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.state_config import Command, StateConfig
from real2sim.vid2world.state_head import StateHead
from real2sim.vid2world.training.train_states import (
    StateTraining,
    StateTrainingConfig,
    read_transitions,
    state_errors,
    taught_states,
)
from tests.vid2world.robot_states import NAMES, episode, state_config, write_episodes

SCALE = (1.0,) * WIDTH


def fitted_head() -> tuple[StateHead, torch.Tensor, torch.Tensor]:
    episodes = [episode(np.random.default_rng(seed)) for seed in range(20)]
    states = torch.from_numpy(np.stack([item["state"] for item in episodes]))
    actions = torch.from_numpy(np.stack([item["action"] for item in episodes]))
    torch.manual_seed(0)
    head = StateHead(state_config(), SCALE)
    head.fit(states)
    return head, states, actions


def test_a_number_that_never_changes_in_the_data_stays_to_the_last_bit() -> None:
    head, states, actions = fitted_head()
    rolled = head.rollout(states[:, 0], actions[:, :-1])
    assert torch.equal(rolled[:, -1, 2], states[:, 0, 2])


def test_commands_are_added_up_cut_off_and_held_near_what_is_measured() -> None:
    head, states, _ = fitted_head()
    state = states[:1, 0].clone()
    state[0, 0] = state[0, 1] = 0.8
    action = torch.zeros(1, WIDTH)
    action[0, 10] = 0.9
    with torch.no_grad():
        following = head(state, action)[0][0]
    assert following[1] == torch.minimum(torch.tensor(1.0), following[0] + 0.5)
    action[0, 10] = -0.1
    with torch.no_grad():
        assert head(state, action)[0][0, 1] == pytest.approx(0.7)


def test_a_rollout_is_many_single_steps() -> None:
    head, states, actions = fitted_head()
    state = states[:, 0]
    for step in range(4):
        state = head(state, actions[:, step])[0]
    torch.testing.assert_close(head.rollout(states[:, 0], actions[:, :4])[:, -1], state)


@pytest.mark.slow
def test_training_learns_to_follow_and_can_be_stopped(tmp_path: Path) -> None:
    data = write_episodes(tmp_path / "data", 30)
    optimisation = Optimisation(steps=400, learning_rate=3e-3, warmup=10, ema=0, checkpoint_every=100)
    config = StateTrainingConfig(optimisation=optimisation, batch=64, unroll=4)
    assert taught_states(StateTraining(config, state_config(), SCALE, data), tmp_path / "out", 0.0) is None
    weights = taught_states(StateTraining(config, state_config(), SCALE, data), tmp_path / "out", 10.0)
    assert weights is not None
    head = StateHead(state_config(), SCALE)
    head.load_state_dict(weights)
    others = read_transitions([write_episodes(tmp_path / "other", 40)], NAMES)
    states = torch.stack([episode.states for episode in others])
    actions = torch.stack([episode.actions for episode in others])
    errors = state_errors(head, states[30:], actions[30:])
    still = (states[30:, 1:] - states[30:, :1]).abs()
    assert errors[..., 0].mean() < 0.3 * still[..., 0].mean()


def test_states_are_read_by_name(tmp_path: Path) -> None:
    data = write_episodes(tmp_path / "data", 2)
    turned = read_transitions([data], NAMES[::-1])[1]
    straight = read_transitions([data], NAMES)[1]
    torch.testing.assert_close(turned.states.flip(-1), straight.states)
    with pytest.raises(ValueError, match="no number 'wrist'; it has place, target"):
        read_transitions([data], ("wrist",))


def test_names_of_a_state_may_stand_in_robot_json(tmp_path: Path) -> None:
    rows = episode(np.random.default_rng(0))
    del rows["state_names"]
    (tmp_path / "data").mkdir()
    write_arrays(tmp_path / "data" / "episode_0.npz", rows)
    with pytest.raises(ValueError, match="nothing says what the numbers of the state are"):
        read_transitions([tmp_path / "data"], NAMES)
    numbers = tuple(StateNumber(name) for name in NAMES)
    moves = tuple(ActionNumber(f"move.{i}") for i in range(rows["action"].shape[1]))
    Robot("cart", moves, state=numbers, state_from="model").save(tmp_path / "data")
    np.testing.assert_array_equal(
        read_transitions([tmp_path / "data"], ("size",))[0].states[:, 0], rows["state"][:, 2]
    )


def test_a_configuration_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'elbow', which is not a number of the state"):
        replace(state_config(), commands=(Command("target", 0, 0, 1, "elbow", 0.1),))
    with pytest.raises(ValueError, match="different names"):
        StateConfig(names=("a", "a"))
    with pytest.raises(ValueError, match="low must be below high"):
        Command("a", 0, 1.0, 1.0, "b", 0.1)
