"""`train world-model --robot-state`: a robot with several actions per frame, whose state the model is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.keep_out import note_in_dataset
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.training.robot_fit import with_robot_state
from real2sim.vid2world.training.train_small import TrainWorldModel, train_world_model
from real2sim.vid2world.training.train_states import StateTrainingConfig, read_transitions
from real2sim.vid2world.training.windows import WindowOptimisation, WindowSource
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from tests.vid2world.robot_states import ARM


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    ARM.save(folder)
    rng = np.random.default_rng(0)
    for number in range(5):
        action = rng.uniform(0, 50, (8, 2, 2)).astype(np.float32)
        state = np.concatenate([np.full((1, 2), number), action[:-1, -1]]).astype(np.float32)
        image = rng.integers(0, 256, (8, 16, 32, 3), dtype=np.uint8)
        write_arrays(folder / f"{number:06d}.npz", {"image": image, "action": action, "state": state})
    return folder


def test_all_actions_of_a_frame_lead_to_the_next_state(dataset: Path) -> None:
    episodes = read_transitions([dataset], ("grip", "pan"))
    assert len(episodes) == 5
    for episode in episodes:
        assert episode.actions.shape == (8, 4)
        assert np.array_equal(episode.states[1:, 0], episode.actions[:-1, 3])
        assert np.array_equal(episode.states[1:, 1], episode.actions[:-1, 2])


def test_states_belong_to_the_frames_where_starts_of_suites_are_left_out(dataset: Path) -> None:
    note_in_dataset(dataset, "suite", ["000001.npz"])
    source = WindowSource(dataset, 4, ("pan", "grip"))
    assert source.states is not None
    assert [float(states[0, 0]) for states in source.states] == [0, 2, 3, 4]
    assert len(source) == 4


def test_a_model_of_two_cameras_predicts_the_state_of_its_robot(dataset: Path, tmp_path: Path) -> None:
    quick = Optimisation(steps=2, checkpoint_every=1)
    tiny = WorldModelConfig.tiny().for_robot(ARM)
    config = TrainWorldModel(
        dataset,
        tmp_path / "out",
        tiny,
        optimisation=WindowOptimisation(steps=2, windows=2, frames=4, checkpoint_every=1),
        states=StateTrainingConfig(quick, batch=8, unroll=2),
        robot_state=True,
    )
    folder = train_world_model(config)
    assert folder is not None
    assert train_world_model(config) == folder  # a finished training is recognised with the option, too
    model = WorldModel.from_folder(folder)
    assert model.state_names == ("pan", "grip")
    frames = np.zeros((3, 16, 32, 3), np.uint8)
    lanes = model.reset(frames, [0, 1, 2], np.zeros((3, 2), np.float32))
    drawn, lanes = model.step(lanes, np.zeros((3, 4), np.float32))
    assert drawn.shape == (3, 16, 32, 3)
    assert model.robot_state(lanes).shape == (3, 2)


def test_a_robot_without_a_state_cannot_tell_it(dataset: Path) -> None:
    replace(ARM, state=(), state_from=None).save(dataset)
    with pytest.raises(ValueError, match=r"'arm' .* has no state; leave out --robot-state"):
        with_robot_state(WorldModelConfig.tiny(), dataset)
