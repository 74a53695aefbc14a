"""The drawer robot's state for a world model: its numbers, what is commanded, and its links in the camera's image."""

from __future__ import annotations

import math
from dataclasses import replace

from real2sim.actions import WIDTH
from real2sim.vid2world.network.unet_config import UNetConfig
from real2sim.vid2world.pose_map import Camera, Line, Link, PoseMapConfig
from real2sim.vid2world.state_config import Command, StateConfig
from real2sim.vid2world.world_model_config import WorldModelConfig

HAND_LOW, HAND_HIGH = (-0.30, 0.38, 0.05), (0.30, 0.90, 0.34)
LEAD_METRES = 0.03
STEP_METRES = 0.06
GRIPPER = 3
"""Place of the gripper among the action's 13 numbers."""
FIRST_MOVE = 10
"""Place of the displacement along x among the action's 13 numbers; y and z follow."""

# Offsets and quaternions of Meta-World's Sawyer and drawer (MIT licence), rounded to six digits.
LINKS = (
    Link("l0", None, (0, 0, 0.08), joint="right_j0"),
    Link("l1", "l0", (0.081, 0.05, 0.237), (0.5, -0.5, 0.5, 0.5), "right_j1"),
    Link("l2", "l1", (0, -0.14, 0.1425), (0.707107, 0.707107, 0, 0), "right_j2"),
    Link("l3", "l2", (0, -0.042, 0.26), (0.707107, -0.707107, 0, 0), "right_j3"),
    Link("l4", "l3", (0, -0.125, -0.1265), (0.707107, 0.707107, 0, 0), "right_j4"),
    Link("l5", "l4", (0, 0.031, 0.275), (0.707107, -0.707107, 0, 0), "right_j5"),
    Link("l6", "l5", (0, -0.11, 0.1053), (0.0616248, 0.06163, -0.704416, 0.704416), "right_j6"),
    Link("gripper", "l6", (0, 0, 0.0245), (0.707107, 0, 0, 0.707107)),
    Link("hand", "gripper", (0, 0, 0.12), (-0.707107, 0, 0.707107, 0)),
    Link("right_finger", "hand", (0, -0.05, 0), joint="finger_right", moves="slide", axis=(0, 1, 0)),
    Link("left_finger", "hand", (0, 0.05, 0), joint="finger_left", moves="slide", axis=(0, 1, 0)),
    Link("case", None, (0, 0.9, 0.084), joint="drawer_x", moves="slide", axis=(1, 0, 0)),
    Link("drawer", "case", (0, -0.01, 0.006), joint="drawer", moves="slide", axis=(0, 1, 0)),
)

_ARM = (
    Line(0, "l2", (0, 0, 0), (0, 0, 0.30), 0.055),
    Line(1, "l3", (0, 0, 0), (0, 0, -0.12), 0.054),
    Line(1, "l3", (0, 0, -0.1265), (0, -0.11, -0.1265), 0.05),
    Line(2, "l4", (0, 0, 0), (0, 0, 0.29), 0.05),
    Line(3, "l5", (0, 0, 0), (0, 0, 0.105), 0.045),
    Line(3, "l5", (0, 0, 0.105), (0, -0.07, 0.105), 0.042),
    Line(4, "l6", (0, 0.05, 0), (0, 0, 0), 0.035),
    Line(4, "gripper", (0, 0, -0.02), (0, 0, 0.07), 0.035),
    Line(5, "hand", (-0.05, -0.055, 0), (-0.05, 0.055, 0), 0.006),
    Line(6, "right_finger", (-0.045, 0, 0), (0.045, 0, 0), 0.01),
    Line(7, "left_finger", (-0.045, 0, 0), (0.045, 0, 0), 0.01),
)


def _frame(channel: int, link: str, x: float, y: float, z: float) -> tuple[Line, ...]:
    corners = [(-x, y, -z), (x, y, -z), (x, y, z), (-x, y, z)]
    return tuple(
        Line(channel, link, a, b, 0.006) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    )


_DRAWER = (
    *_frame(8, "drawer", 0.1, -0.09, 0.06),
    Line(9, "drawer", (-0.1, -0.09, 0.06), (-0.1, 0.09, 0.06), 0.006),
    Line(9, "drawer", (0.1, -0.09, 0.06), (0.1, 0.09, 0.06), 0.006),
    Line(10, "drawer", (-0.052, -0.151, 0), (0.052, -0.151, 0), 0.008),
    Line(10, "drawer", (-0.052, -0.09, 0), (-0.052, -0.151, 0), 0.008),
    Line(10, "drawer", (0.052, -0.09, 0), (0.052, -0.151, 0), 0.008),
    *_frame(11, "case", 0.118, -0.1, 0.084),
    *_frame(11, "case", 0.118, 0.1, 0.084),
)


def camera() -> Camera:
    """Where the suite's camera stands: 0.75 m from a point over the table, at azimuth 160 and elevation -42 degrees."""
    azimuth, elevation = math.radians(160), math.radians(-42)
    forward = (
        math.cos(elevation) * math.cos(azimuth),
        math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
    )
    up = (
        -math.sin(elevation) * math.cos(azimuth),
        -math.sin(elevation) * math.sin(azimuth),
        math.cos(elevation),
    )
    lookat = (0.0, 0.67, 0.12)
    position = tuple(point - 0.75 * along for point, along in zip(lookat, forward, strict=True))
    return Camera(position, forward, up, field_of_view=45.0)


def drawer_state() -> StateConfig:
    """The state of the drawer robot and its drawer."""
    axes = "xyz"
    joints = tuple(f"right_j{index}" for index in range(7))
    moving = (*joints, "finger_right", "finger_left")
    return StateConfig(
        names=(
            *moving,
            *(f"hand_{axis}" for axis in axes),
            *(f"target_{axis}" for axis in axes),
            "drawer_x",
            "drawer",
            *(f"{name}_velocity" for name in (*moving, "drawer")),
        ),
        commands=tuple(
            Command(
                f"target_{axis}",
                FIRST_MOVE + place,
                HAND_LOW[place],
                HAND_HIGH[place],
                f"hand_{axis}",
                LEAD_METRES,
            )
            for place, axis in enumerate(axes)
        ),
        pose_map=PoseMapConfig(LINKS, _ARM + _DRAWER, camera(), per="patch"),
        layers=3,
    )


def drawer_world_model(
    patch: int = 2, width: int = 16, levels: tuple[int, ...] = (1, 2, 4)
) -> WorldModelConfig:
    """A world model of the drawer suite that draws frames from states."""
    state = drawer_state()
    assert state.pose_map is not None
    scale = [0.0] * WIDTH
    scale[GRIPPER] = 1.0
    scale[FIRST_MOVE : FIRST_MOVE + 3] = [1 / STEP_METRES] * 3
    unet = replace(
        UNetConfig.small(height=64 // patch, width=64 // patch),
        in_channels=3 * patch**2 + state.pose_map.inputs(patch),
        out_channels=4 * patch**2,
        model_channels=width,
        channel_mult=levels,
        num_head_channels=8,
        action_dim=None,
        window=1,
        temporal_convs=0,
        temporal_attentions=0,
        spatial_attention=False,
        state_dim=len(state.names),
        learned_map=8,
    )
    return WorldModelConfig(
        unet=unet, patch=patch, action_scale=tuple(scale), state=state, draws_from="state", copy_gate=True
    )
