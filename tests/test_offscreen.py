"""Renderers of MuJoCo live side by side: the end of one leaves the pictures of the others as they are."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


@pytest.mark.parametrize(
    "robot", ["drawer.physics import DrawerPhysics", "so101.physics import SO101Physics"]
)
def test_triton_is_imported_before_mesa_is_loaded(robot: str, tmp_path: Path) -> None:
    # Not the real one: after Mesa it ends the process with a segmentation fault.
    (tmp_path / "triton.py").write_text("import sys\nassert 'mujoco' not in sys.modules\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from real2sim.{robot} as Physics; Physics(); "
        "assert {'triton', 'mujoco'} <= set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_mujoco_without_triton_or_with_a_broken_one(tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("raise RuntimeError('built for another Python')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from real2sim.offscreen import import_mujoco; "
        "print(import_mujoco('a robot', 'physics').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "mujoco", done.stderr
