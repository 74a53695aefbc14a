"""Renderers of MuJoCo live side by side: the end of one leaves the pictures of the others as they are."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco")

from real2sim.drawer.physics import DrawerPhysics, DrawerStart
from real2sim.so101.physics import SO101Physics, SO101Start

pytestmark = pytest.mark.physics


def drawer() -> tuple[Any, Callable[[], np.ndarray]]:
    physics = DrawerPhysics()
    physics.reset(DrawerStart(0.0, -0.1, (0.0, 0.5, 0.15)))
    return physics, physics.render


def so101() -> tuple[Any, Callable[[], np.ndarray]]:
    physics = SO101Physics()
    physics.reset(SO101Start((-8.0, -30.0, 25.0, 75.0, 0.0, 30.0), (0.22, -0.04, 10.0)))
    return physics, lambda: np.concatenate(list(physics.render(64).values()))


@pytest.mark.parametrize("robot", [drawer, so101])
@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_physics_that_ends_does_not_spoil_the_frames_of_another(
    robot: Callable[[], tuple[Any, Callable[[], np.ndarray]]], how: str
) -> None:
    _, kept = robot()
    expected = kept()
    other, render = robot()
    render()
    kept()
    if how == "closed":
        other.close()
    del other, render
    gc.collect()
    np.testing.assert_array_equal(kept(), expected)
