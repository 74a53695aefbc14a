"""States predicted command by command: joints follow targets, tips follow joints, objects are pushed or stay."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.subsampling import frame_actions
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.command_head import CommandHead, state_head
from real2sim.vid2world.state_config import StateConfig, Target
from real2sim.vid2world.state_head import StateHead
from real2sim.vid2world.training.robot_fit import with_object_state
from real2sim.vid2world.training.train_states import (
    StateTraining,
    StateTrainingConfig,
    read_commands,
    read_transitions,
    state_errors,
    taught_states,
)
from real2sim.vid2world.world_model_config import WorldModelConfig
from tests.vid2world.robot_states import ARM

NAMES = ("pan", "grip", "block.x", "tip.x")
TARGETS = (Target("pan", 0), Target("grip", 1))
CONFIG = StateConfig(NAMES, width=48, layers=2, commands_per_frame=2, targets=TARGETS, derived=("tip.x",))
SCALE = (0.04,) * 4


def pushed(commands: np.ndarray, block: float) -> np.ndarray:
    """States (t 4) at each command: joints go half of the way, the tip is at the first joint, and whatever is in its
    way it pushes ahead of it."""
    joints, rows = np.array([0.0, 10.0]), []
    for command in commands:
        rows.append([*joints, block, joints[0]])
        joints = joints + 0.5 * (command - joints)
        block = max(block, joints[0]) if rows[-1][0] <= block else block
    return np.array(rows, np.float32)


def write_pushes(folder: Path, count: int, *, between: bool = True, seed: int = 0) -> Path:
    folder.mkdir()
    ARM.save(folder)
    rng = np.random.default_rng(seed)
    for number in range(count):
        commands = rng.uniform(0, 50, (17, 2)).astype(np.float32)
        states = pushed(commands, float(rng.uniform(5, 45)))
        every = frame_actions(states, 2)
        episode = {
            "image": np.zeros((len(every), 16, 32, 3), np.uint8),
            "action": frame_actions(commands, 2),
            "state": every[:, 0, :2],
            "environment_state": every[:, 0, 2:],
            "environment_names": np.array(NAMES[2:]),
        }
        if between:
            episode |= {"between_state": every[..., :2], "between_environment_state": every[..., 2:]}
        write_arrays(folder / f"{number:06d}.npz", episode)
    return folder


@pytest.mark.slow
def test_a_taught_head_follows_targets_and_moves_only_what_is_pushed(tmp_path: Path) -> None:
    data = write_pushes(tmp_path / "data", 60)
    optimisation = Optimisation(steps=500, learning_rate=3e-3, warmup=10, ema=0, checkpoint_every=250)
    config = StateTrainingConfig(optimisation=optimisation, batch=128, unroll=6)
    weights = taught_states(StateTraining(config, CONFIG, SCALE, data), tmp_path / "out", 10.0)
    assert weights is not None
    head = CommandHead(CONFIG, SCALE)
    head.load_state_dict(weights)
    others = read_transitions([write_pushes(tmp_path / "other", 30, seed=1)], NAMES)
    states = torch.stack([episode.states for episode in others])
    actions = torch.stack([episode.actions for episode in others])
    errors = state_errors(head, states, actions)
    assert errors[..., :2].mean() < 1.0, "targets are 25 apart on average"
    assert errors[..., 3].mean() < 1.5
    assert errors[:, -1, 2].median() < 2.0
    behind = states[:, :, 0].amax(dim=1) < states[:, 0, 2] - 2
    assert behind.any()
    assert errors[behind, -1, 2].max() < 2.0


def test_commands_one_by_one_are_those_of_a_frame() -> None:
    torch.manual_seed(0)
    head = CommandHead(CONFIG, SCALE)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state, actions = torch.randn(3, 4), 10 * torch.randn(3, 4)
    whole, motion = head(state, actions)
    first, moved = head(state, actions[:, :2])
    second, after = head(first, actions[:, 2:], moved)
    torch.testing.assert_close(whole, second)
    torch.testing.assert_close(motion, after)
    assert not torch.equal(head(first, actions[:, 2:])[0], second), "how it just moved matters"


def test_joints_cannot_run_away_whatever_the_weights() -> None:
    torch.manual_seed(1)
    head = CommandHead(CONFIG, SCALE)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=2.0)
    states = head.rollout(torch.zeros(8, 4), 50 * torch.rand(8, 200, 4))
    assert states[..., :2].abs().max() < 50 / (1 - 0.8)


def test_the_head_of_a_configuration_is_the_one_that_it_asks_for() -> None:
    assert isinstance(state_head(CONFIG, SCALE), CommandHead)
    assert isinstance(state_head(StateConfig(NAMES), SCALE), StateHead)
    with pytest.raises(ValueError, match="3 numbers of a frame's action are no whole multiple"):
        state_head(CONFIG, SCALE[:3])
    with pytest.raises(ValueError, match=r"state\.derived needs state\.targets"):
        replace(CONFIG, targets=())


def test_a_dataset_with_states_between_frames_gets_a_head_for_commands(tmp_path: Path) -> None:
    data = write_pushes(tmp_path / "data", 2)
    state = with_object_state(WorldModelConfig.tiny().for_robot(ARM), data, ("tip.x",)).state
    assert state is not None
    assert (state.commands_per_frame, state.targets, state.derived) == (2, TARGETS, ("tip.x",))
    without = write_pushes(tmp_path / "without", 2, between=False)
    plain = with_object_state(WorldModelConfig.tiny().for_robot(ARM), without).state
    assert plain is not None and plain.commands_per_frame == 1
    with pytest.raises(ValueError, match="--derived is for datasets with the states between frames"):
        with_object_state(WorldModelConfig.tiny().for_robot(ARM), without, ("tip.x",))
    with pytest.raises(ValueError, match="there are no states between its frames"):
        read_commands([without], NAMES, 2)
    with pytest.raises(ValueError, match="its robot has 2 commands per frame"):
        read_commands([data], NAMES, 3)


def test_states_at_commands_are_those_that_were_recorded(tmp_path: Path) -> None:
    data = write_pushes(tmp_path / "data", 1)
    (frames,), (commands,) = read_transitions([data], NAMES), read_commands([data], NAMES, 2)
    assert len(commands) == 2 * (len(frames) - 1) + 1
    assert torch.equal(commands.states[::2], frames.states)
    pan = commands.states[:, 0]
    torch.testing.assert_close(pan[1:], pan[:-1] + 0.5 * (commands.actions[:-1, 0] - pan[:-1]))


def test_turning_the_whole_scene_leaves_the_jaws_where_they_are_from_the_blocks_sides() -> None:
    names = ("pan", "block.x", "block.y", "block.z", "block.yaw", "jaw.x", "jaw.y", "jaw.z")
    config = StateConfig(
        names,
        width=16,
        layers=1,
        commands_per_frame=2,
        targets=TARGETS[:1],
        derived=names[5:],
        object_frames=True,
    )
    head = CommandHead(config, (0.04,) * 2)
    unit = torch.ones(len(names))
    place, away, angle = torch.tensor([0.2, -0.1]), torch.tensor([0.03, 0.01]), math.radians(25.0)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    seen = []
    for yaw, by in ((0.0, torch.eye(2)), (25.0, turn)):
        block, jaw = by @ place, by @ (place + away)
        state = torch.tensor([[0.0, *block, 0.0, yaw, *jaw, 0.0]])
        seen.append(head._apart(state, state[:, 5:], unit)[0])
    torch.testing.assert_close(seen[0][-2:], torch.asinh(away))
    torch.testing.assert_close(seen[1][-2:], seen[0][-2:])
    assert not torch.allclose(seen[1][:2], seen[0][:2])
    assert len(seen[0]) == 3 + 2


def test_object_frames_need_the_numbers_of_an_object_that_is_turned() -> None:
    plain = CommandHead(replace(CONFIG, object_frames=True), SCALE)
    assert {name: value.shape for name, value in plain.state_dict().items()} == {
        name: value.shape for name, value in CommandHead(CONFIG, SCALE).state_dict().items()
    }


def test_an_object_that_tips_over_does_not_make_the_usual_turn_large(tmp_path: Path) -> None:
    names = ("pan", "grip", "block.x", "block.yaw", "tip.x")
    head = CommandHead(replace(CONFIG, names=names), SCALE)
    states = torch.zeros(200, 5)
    states[1::2, 3] = 1.0
    turns = states.clone()
    states[100:, 3] += 90.0
    head.fit([states])
    turning = head.change[3].item()
    head.fit([turns])
    assert turning == pytest.approx(head.change[3].item(), rel=0.01)
    assert turning == pytest.approx(1.0, rel=0.01)


def test_a_turn_past_half_a_circle_is_a_small_one(tmp_path: Path) -> None:
    folder = write_pushes(tmp_path / "data", 1)
    file = next(folder.glob("*.npz"))
    with np.load(file) as episode:
        arrays = dict(episode)
    yaw = np.linspace(170, 190, arrays["between_environment_state"][..., 0].size).reshape(
        arrays["between_environment_state"].shape[:2]
    )
    arrays["between_environment_state"][..., 0] = (yaw + 180) % 360 - 180
    arrays["environment_names"] = np.array(["block.yaw", "tip.x"])
    write_arrays(file, arrays)
    states = read_commands([folder], ("block.yaw",), 2)[0].states[:, 0]
    assert states.diff().abs().max() < 2.0
    assert states[-1] > 185
