"""What trainings take from a dataset's robot.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.robot import Camera
from real2sim.vid2world.training.robot_fit import fit_to_dataset
from real2sim.vid2world.training.windows import WindowSource
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from tests.robots.made_up_robots import SIX_JOINTS, write_dataset


def test_a_model_takes_sizes_and_scale_from_the_dataset(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", SIX_JOINTS)
    wide = replace(WorldModelConfig.tiny(), height=64, width=64)  # the default size is no choice
    model = fit_to_dataset(wide, data)
    assert (model.image_size, model.unet.action_dim, model.unet.position_map) == ((24, 48), 30, (6, 12))
    assert model.action_scale == SIX_JOINTS.world_action_scale
    with pytest.raises(ValueError, match=r"model.height and width are \(32, 64\), .* have \(24, 48\)"):
        fit_to_dataset(replace(WorldModelConfig.tiny(), height=32, width=64), data)


def test_windows_are_cut_from_episodes_of_different_lengths_held_or_read_again(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", SIX_JOINTS, lengths=(3, 6, 9))
    model = WorldModel(replace(WorldModelConfig.tiny(), patch=4).for_robot(SIX_JOINTS))
    held, read_again = WindowSource(data, 5), WindowSource(data, 5, memory=0)
    windows = [source.draw(model, 6, np.random.default_rng(0)) for source in (held, read_again)]
    assert windows[0].actions.shape == (6, 5, 30)
    assert (windows[0].latents == windows[1].latents).all()
    assert (windows[0].actions == windows[1].actions).all()
    with pytest.raises(ValueError, match="episodes have up to 9 frames, windows need 10"):
        WindowSource(data, 10)


def test_an_episode_that_is_not_the_robots_is_named(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", SIX_JOINTS)
    path = dataset_files(data)[0]
    replace(SIX_JOINTS, actions_per_frame=4).save(data)
    with pytest.raises(ValueError, match=r"000.npz: action has shape \(6, 5, 6\), expected \(t, 4, 6\)"):
        read_npz(path)
    replace(SIX_JOINTS, cameras=(Camera("front", 24, 32),)).save(data)
    with pytest.raises(
        ValueError, match=r"image has 24 x 48 pixels, the cameras of robot.json .* fill 24 x 32"
    ):
        read_npz(path)
