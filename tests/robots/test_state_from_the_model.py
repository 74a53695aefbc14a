"""Policies that are given the state that the world model predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.robot import Robot
from real2sim.simulation.lanes import Lanes
from real2sim.simulation.suite import Suite
from real2sim.vid2world.state_config import StateConfig
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from real2sim.worlds import open_world, state_source
from tests.robots.made_up_robots import SIX_JOINTS, TASKS, write_robot_suite

ROBOT = replace(SIX_JOINTS, action_kind="delta", state_from="model")


def write_model(suite: Path, robot: Robot, state: StateConfig | None) -> None:
    tiny = WorldModelConfig.tiny()
    unet = replace(tiny.unet, state_dim=None if state is None else len(state.names))
    config = replace(tiny, unet=unet, state=state).for_robot(robot)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WorldModel(config).save(suite / "world_model", "# Toy", robot)


def test_the_state_of_the_world_model_is_given_by_name(tmp_path: Path) -> None:
    suite = Suite.from_folder(write_robot_suite(tmp_path / "suite", ROBOT))
    names = (*reversed(ROBOT.state_names),)
    write_model(suite.folder, ROBOT, StateConfig(names, width=8, layers=1, frequencies=0))
    world = open_world("world_model", suite)
    assert state_source("world_model", suite) == "model"
    starts = suite.starts(TASKS[0].name)
    lanes = Lanes(world, suite, 2)
    lanes.begin([0, 1], starts, [0, 1])
    first = lanes.observe().state
    assert first is not None
    np.testing.assert_allclose(first, np.stack([start.robot_state for start in starts]), atol=1e-6)
    lanes.step(np.full((2, 5, 6), 3.0))
    second = lanes.observe().state
    assert second is not None
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, np.full((2, 6), 3.0)), "not the commanded numbers"


def test_a_world_model_without_a_state_is_refused_for_a_robot_that_needs_one(tmp_path: Path) -> None:
    suite = Suite.from_folder(write_robot_suite(tmp_path / "suite", ROBOT))
    write_model(suite.folder, ROBOT, None)
    with pytest.raises(ValueError, match="predicts no robot state, which suite 'six joints' needs"):
        open_world("world_model", suite)


def test_a_start_without_the_robots_state_is_named(tmp_path: Path) -> None:
    folder = write_robot_suite(tmp_path / "suite", replace(SIX_JOINTS, state=(), state_from=None))
    SIX_JOINTS.save(folder)
    with pytest.raises(
        ValueError, match=r"has no array 'lift/robot_states'; robot 'six joints' has a state of 6"
    ):
        Suite.from_folder(folder).starts("lift")


def test_a_start_takes_the_robots_state_by_name_from_what_was_measured(tmp_path: Path) -> None:
    folder = write_robot_suite(tmp_path / "suite", SIX_JOINTS)
    path = folder / "start_frames.npz"
    arrays = read_arrays(path)
    expected = {task.name: arrays.pop(f"{task.name}/robot_states") for task in TASKS}
    names = [*reversed(SIX_JOINTS.state_names), "block.x"]
    arrays["measured_names"] = np.array(names)
    for task, states in expected.items():
        arrays[f"{task}/measured"] = np.concatenate([states[:, ::-1], np.zeros((2, 1))], axis=1)
    write_arrays(path, arrays)
    for task, states in expected.items():
        found = np.stack([start.robot_state for start in Suite.from_folder(folder).starts(task)])
        np.testing.assert_allclose(found, states, atol=1e-6)
    write_arrays(path, {**arrays, "measured_names": np.array([*names[:5], "other", "block.x"])})
    with pytest.raises(ValueError, match=r"'lift/measured' would do, but has no 'shoulder_pan.pos'"):
        Suite.from_folder(folder).starts("lift")
