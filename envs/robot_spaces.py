"""Observation and action spaces of a robot, and what passes through them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from real2sim.robot import Robot
from real2sim.simulation.observation import Observation


def observation_space(robot: Robot) -> spaces.Space[Any]:
    """One camera and no state: its frame, uint8 (h w 3); else ``pixels`` by camera and ``agent_pos``, float32 (m,)."""
    frames: dict[str, spaces.Space[Any]] = {
        camera.name: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
        for camera in robot.cameras
    }
    if len(frames) == 1 and robot.state_from is None:
        return frames[robot.cameras[0].name]
    parts: dict[str, spaces.Space[Any]] = {"pixels": spaces.Dict(frames)}
    if robot.state_from is not None:
        # States have no bounds; the checker of Gymnasium objects to infinite ones.
        most = float(np.finfo(np.float32).max)
        parts["agent_pos"] = spaces.Box(-most, most, (len(robot.state),), np.float32)
    return spaces.Dict(parts)


def observed(robot: Robot, observation: Observation) -> Any:
    """An observation of all lanes, in the form of `observation_space`."""
    if len(robot.cameras) == 1 and observation.state is None:
        return observation.frames
    pixels = {name: frames.copy() for name, frames in observation.images.items()}
    return {"pixels": pixels} | ({} if observation.state is None else {"agent_pos": observation.state})


def action_space(robot: Robot, normalized: bool = False) -> spaces.Box:
    """The robot's actions, float32 (n,), or (K n) for K actions per frame; ``normalized`` from -1 to 1 each.

    A number that the robot ignores gets bounds inside -1 to 1, whatever its unit would be: Gymnasium's checker asks
    for such bounds, and the values do not matter.
    """
    low = np.where(robot.used, robot.low, np.maximum(robot.low, -1)).astype(np.float32)
    high = np.where(robot.used, robot.high, np.minimum(robot.high, 1)).astype(np.float32)
    if normalized:
        low, high = -np.ones_like(low), np.ones_like(high)
    if robot.actions_per_frame > 1:
        low, high = (np.tile(bound, (robot.actions_per_frame, 1)) for bound in (low, high))
    return spaces.Box(low, high, dtype=np.float32)


def from_normalized(robot: Robot, actions: np.ndarray) -> np.ndarray:
    """Actions in the robot's units of actions (lanes n), or (lanes K n) for K actions per frame, between -1 (its lower
    bound) and 1 (its upper one)."""
    middle, half = (robot.high + robot.low) / 2, (robot.high - robot.low) / 2
    converted: np.ndarray = middle + actions.astype(np.float32) * half
    return converted
