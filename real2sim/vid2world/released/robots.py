"""The robots (and the game) of the published Vid2World models, as data."""

from __future__ import annotations

from math import pi

import numpy as np

from real2sim.robot import ActionNumber, Camera, Robot

KEYS = ("w", "a", "s", "d", "space", "ctrl", "shift", "1", "2", "3", "r")
BUTTONS = ("left", "right")
MOUSE_X = (
    -1000,
    -500,
    -300,
    -200,
    -100,
    -60,
    -30,
    -20,
    -10,
    -4,
    -2,
    0,
    2,
    4,
    10,
    20,
    30,
    60,
    100,
    200,
    300,
    500,
    1000,
)
MOUSE_Y = (-200, -100, -50, -20, -10, -4, -2, 0, 2, 4, 10, 20, 50, 100, 200)
"""Steps of the mouse in pixels (Pearce & Zhu 2022; the recordings of DIAMOND, Alonso et al. 2024)."""


def csgo_robot(control_hz: float = 16.0) -> Robot:
    """Keyboard and mouse of Counter-Strike: 51 zeros and ones, frames of 150 x 280 pixels."""
    mouse_x, mouse_y = (
        tuple(f"{axis}.{step:+d}" for step in steps)
        for axis, steps in (("mouse_x", MOUSE_X), ("mouse_y", MOUSE_Y))
    )
    names = (*(f"key.{key}" for key in KEYS), *(f"button.{button}" for button in BUTTONS), *mouse_x, *mouse_y)
    return Robot(
        name="csgo",
        action=tuple(ActionNumber(name, 0, 1, binary=True) for name in names),
        action_kind="absolute",
        one_hot=(mouse_x, mouse_y),
        control_hz=control_hz,
        cameras=(Camera("screen", 150, 280),),
    )


RECON_UNIT = 0.25
"""Metres that one unit of displacement means in the RECON recordings."""
RECON_LOW, RECON_HIGH = np.array([-2.5, -4.0]), np.array([5.0, 4.0])
"""Displacements dx (ahead) and dy in units that become -1 and 1."""


def recon_robot(control_hz: float = 4.0) -> Robot:
    """The outdoor robot of RECON: scaled local displacement and yaw per frame, frames of 320 x 320 pixels."""
    return Robot(
        name="recon",
        action=(
            ActionNumber("displacement.x", -1, 1),
            ActionNumber("displacement.y", -1, 1),
            ActionNumber("yaw", -pi, pi, "rad"),
        ),
        control_hz=control_hz,
        cameras=(Camera("front", 320, 320),),
    )


def recon_actions(displacements: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Actions (... 3) of the RECON model from local displacements (... 2) in metres and yaw (...) in radians."""
    units = np.asarray(displacements, np.float64) / RECON_UNIT
    scaled = 2 * (units - RECON_LOW) / (RECON_HIGH - RECON_LOW) - 1
    return np.concatenate([scaled, np.asarray(yaw, np.float64)[..., None]], axis=-1).astype(np.float32)
