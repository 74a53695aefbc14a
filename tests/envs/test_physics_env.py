"""The physics robot behind Gymnasium; needs the extra [physics] and headless rendering."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from real2sim.actions import pack

pytestmark = pytest.mark.physics


@pytest.mark.parametrize("task", ["Close", "Open", ""])
def test_the_checker_of_gymnasium_has_no_complaint(task: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"real2sim:real2sim/PhysicsDrawer{task}-v0").unwrapped)


def test_the_first_frame_is_the_shipped_one() -> None:
    """So episodes in physics and in the world model begin with the same picture."""
    from real2sim.drawer.physics import DrawerPhysics, DrawerStart
    from real2sim.simulation.suite import load_suite

    start = load_suite("drawer").starts("open_drawer")[7]
    env = gymnasium.make("real2sim:real2sim/PhysicsDrawerOpen-v0")
    frame, info = env.reset(options={"start": start.id})
    assert info["instruction"] == "open drawer"
    assert start.state is not None
    drawn = DrawerPhysics().reset(DrawerStart.from_array(start.state))
    np.testing.assert_array_equal(frame, start.frame)
    # Another build of the renderer may round an edge pixel differently.
    assert np.abs(drawn.astype(int) - frame).max() <= 2


def test_the_drawer_joint_decides_the_reward() -> None:
    env = gymnasium.make("real2sim:real2sim/PhysicsDrawerClose-v0")
    env.reset(seed=0)
    truncated = False
    while not truncated:
        _, reward, _, truncated, info = env.step(pack({"world_vector": np.zeros(3)}))
    assert info["success"] is False, "an open drawer does not close by itself"
    assert reward == 0
    assert info["steps"] == 20


def test_lanes_of_physics_do_not_disturb_each_other() -> None:
    envs = gymnasium.make_vec("real2sim:real2sim/PhysicsDrawer-v0", num_envs=2)
    alone = gymnasium.make("real2sim:real2sim/PhysicsDrawer-v0")
    envs.reset(seed=4)
    alone.reset(seed=5)
    move = pack({"world_vector": np.array([0.01, 0.05, -0.04])})
    for _ in range(4):
        frames = envs.step(np.stack([-move, move]))[0]
        frame = alone.step(move)[0]
    np.testing.assert_array_equal(frames[1], frame)


@pytest.mark.parametrize("name", ["PhysicsDrawerOpen", "PhysicsSO101PushBlock"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_of_an_environment_goes_on_with_its_episode(name: str, copied: Callable[[Any], Any]) -> None:
    env: Any = gymnasium.make(f"real2sim:real2sim/{name}-v0", terminate=False, judge=None)
    env.reset(seed=3)
    actions = [env.action_space.sample() for _ in range(3)]
    env.step(actions[0])
    other = copied(env)
    for action in actions[1:]:
        seen, again = env.step(action)[0], other.step(action)[0]
        np.testing.assert_equal(again, seen)
