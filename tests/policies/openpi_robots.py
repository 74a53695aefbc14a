"""Suites' robots that openpi's policies act for, and what openpi's input transforms ask of an observation."""

from __future__ import annotations

from typing import Any

import numpy as np

from real2sim.robot import ActionNumber, Camera, Robot, StateNumber
from real2sim.simulation.observation import Observation, observe

PANDA = (
    *(StateNumber(f"joint_position.{i}", "rad") for i in range(7)),
    StateNumber("gripper_position"),
)
DROID = Robot(
    name="droid",
    action=(
        *(ActionNumber(f"joint_velocity.{i}") for i in range(7)),
        ActionNumber("gripper_position", 0, 1),
    ),
    action_kind="delta",
    control_hz=15,
    cameras=(Camera("exterior_image_1_left", 90, 160), Camera("wrist_image_left", 90, 160)),
    state=PANDA,
    state_from="model",
)
DROID_TARGETS = Robot(
    name="droid targets",
    action=(
        *(ActionNumber(f"joint_position.{i}", -3.2, 3.2, "rad") for i in range(7)),
        ActionNumber("gripper_position", 0, 1),
    ),
    action_kind="absolute",
    control_hz=15,
    actions_per_frame=5,
    cameras=(
        Camera("exterior_image_1_left", 90, 160),
        Camera("exterior_image_2_left", 90, 160),
        Camera("wrist_image_left", 90, 160),
    ),
    state=PANDA,
    state_from="model",
)
LIBERO = Robot(
    name="libero",
    action=tuple(ActionNumber(name) for name in ("x", "y", "z", "roll", "pitch", "yaw", "gripper")),
    control_hz=10,
    cameras=(Camera("image", 64, 64), Camera("wrist_image", 64, 64)),
    state=tuple(StateNumber(f"state.{i}") for i in range(8)),
    state_from="model",
)
ARMS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in range(7))
ALOHA = Robot(
    name="aloha",
    action=tuple(ActionNumber(name, -3.2, 3.2, "rad") for name in ARMS),
    action_kind="absolute",
    control_hz=50,
    cameras=(Camera("cam_high", 48, 64), Camera("cam_left_wrist", 48, 64)),
    state=tuple(StateNumber(name, "rad") for name in ARMS),
    state_from="action",
)


def observation(robot: Robot, lanes: int = 1, seed: int = 0) -> Observation:
    """Pictures of large squares, and a random state."""
    rng = np.random.default_rng(seed)
    height, width = robot.canvas_size
    rows, columns = np.mgrid[:height, :width] // 16 * 16
    frames = np.stack([(rows + columns) % 256, (2 * rows) % 256, (3 * columns) % 256], axis=-1)
    canvas = (frames + rng.integers(0, 256, (lanes, 1, 1, 1))) % 256
    state = rng.uniform(-1, 1, (lanes, len(robot.state))).astype(np.float32)
    return observe(robot, canvas.astype(np.uint8), ("pick up the cup",) * lanes, state)


def _picture(value: Any, channels_first: bool = False) -> None:
    shape = (3, 224, 224) if channels_first else (224, 224, 3)
    assert isinstance(value, np.ndarray)
    assert (value.dtype, value.shape) == (np.dtype(np.uint8), shape)


def droid_inputs(data: dict[str, Any]) -> None:
    """What DroidInputs indexes: a missing name is a KeyError there too."""
    for key in ("observation/exterior_image_1_left", "observation/wrist_image_left"):
        _picture(data[key])
    state = np.concatenate([data["observation/joint_position"], data["observation/gripper_position"]])
    assert (state.dtype, state.shape) == (np.dtype(np.float32), (8,))
    assert isinstance(data["prompt"], str)


def libero_inputs(data: dict[str, Any]) -> None:
    """What LiberoInputs indexes."""
    for key in ("observation/image", "observation/wrist_image"):
        _picture(data[key])
    assert (data["observation/state"].dtype, data["observation/state"].shape) == (np.dtype(np.float32), (8,))
    assert isinstance(data["prompt"], str)


def aloha_inputs(data: dict[str, Any]) -> None:
    """What AlohaInputs indexes; cameras other than cam_high may be missing, unknown ones may not be there."""
    assert set(data["images"]) <= {"cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist"}
    for picture in (data["images"]["cam_high"], *data["images"].values()):
        _picture(picture, channels_first=True)
    assert (data["state"].dtype, data["state"].shape) == (np.dtype(np.float32), (14,))
    assert isinstance(data["prompt"], str)
