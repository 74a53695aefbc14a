"""What policies are shown in the swap test: real pixels where they are said to be real, drawn ones elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco")

from benchmarks.swap_test import FINGERS, VIEWS, SwappedWorld, View, draw
from real2sim.drawer.physics import DrawerPhysics
from real2sim.drawer.world import DrawerWorld
from real2sim.simulation.suite import Start, load_suite
from real2sim.vid2world.load import MODEL
from real2sim.vid2world.world_model import WorldModel
from real2sim.worlds import model_folder

pytestmark = pytest.mark.physics


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return WorldModel.from_folder(model_folder(MODEL, load_suite("drawer")))


@pytest.fixture(scope="module")
def physics() -> DrawerPhysics:
    return DrawerPhysics()


@pytest.fixture(scope="module")
def starts() -> list[Start]:
    suite = load_suite("drawer")
    return [next(iter(suite.starts(task.name))) for task in suite.tasks]


ACTIONS = np.zeros((2, 1, 13), np.float32)
ACTIONS[..., 10:] = (0.04, 0.03, -0.03)


def shown(physics: DrawerPhysics, model: WorldModel, starts: list[Start], view: View) -> np.ndarray:
    world = SwappedWorld(physics, model, view)
    return world.step(world.reset(starts, [0, 1]), ACTIONS)[0]


def test_whole_views_are_those_of_physics_of_the_world_model_and_of_the_real_state(
    physics: DrawerPhysics, model: WorldModel, starts: list[Start]
) -> None:
    world = DrawerWorld()
    real = world.step(world.reset(starts, [0, 1]), ACTIONS)[0]
    np.testing.assert_array_equal(shown(physics, model, starts, VIEWS[0]), real)
    states = np.array([[start.measured[name] for name in model.state_names] for start in starts], np.float32)
    first = model.reset(np.stack([start.frame for start in starts]), [0, 1], states)
    predicted, after = model.step(first, ACTIONS[:, 0])
    np.testing.assert_array_equal(shown(physics, model, starts, VIEWS[1]), predicted)
    assert after.robot is not None
    np.testing.assert_array_equal(draw(model, first, after.robot.numpy()), predicted)
    of_real_states = shown(physics, model, starts, VIEWS[2])
    assert (of_real_states != predicted).any()
    assert np.abs(of_real_states.astype(int) - real).mean() < 3


def test_parts_are_swapped_along_what_can_be_seen_of_the_arm(
    physics: DrawerPhysics, model: WorldModel, starts: list[Start]
) -> None:
    real, drawn = (shown(physics, model, starts, view)[1] for view in (VIEWS[0], VIEWS[2]))
    # The second lane is the last that physics stepped.
    arm, fingers = physics.shows(physics.arm), physics.shows(FINGERS)
    assert 5 < fingers.sum() < arm.sum() < 64 * 64 / 2
    assert not (fingers & ~arm).any()
    different = (real != drawn).any(axis=-1)
    real_arm, drawn_arm, drawn_fingers = (shown(physics, model, starts, view)[1] for view in VIEWS[3:])
    assert (different & arm).any()
    np.testing.assert_array_equal(real_arm[arm], real[arm])
    np.testing.assert_array_equal(drawn_arm[arm], drawn[arm])
    np.testing.assert_array_equal(drawn_fingers[fingers], drawn[fingers])
    far = np.ones((64, 64), bool)
    far[np.nonzero(arm)[0].min() - 1 : np.nonzero(arm)[0].max() + 2] = False
    np.testing.assert_array_equal(drawn_arm[far], real[far])
    np.testing.assert_array_equal(real_arm[far], drawn[far])
    assert (real_arm != drawn_arm).any()
