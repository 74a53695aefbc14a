"""Inverse kinematics: joints at which the gripper points straight down at a place of the table."""

from __future__ import annotations

from typing import Any

import numpy as np

from real2sim.so101.physics import SO101Physics

ITERATIONS = 6
DAMPING = 0.01
TURN = 0.05
"""Weight of an angle in radians against a distance in metres."""


class Reach:
    """Damped least squares on a copy of the robot; each solution begins at the one before."""

    def __init__(self, physics: SO101Physics) -> None:
        import mujoco

        self._mujoco: Any = mujoco
        self._physics = physics
        self._model = physics.model
        self._data = mujoco.MjData(physics.model)
        self._site = self._model.site("tool").id
        self._degrees = np.array([self._model.joint(i).dofadr[0] for i in _arm(self._model)])

    def begin(self) -> None:
        """Begin at the robot's present joints."""
        self._data.qpos[:] = self._physics.data.qpos

    def joints(self, place: np.ndarray, yaw: float) -> np.ndarray:
        """Five joints (5,) in degrees that bring the point between the jaws to ``place`` (3,), metres, with the
        jaws opening along the direction ``yaw``, degrees about the vertical."""
        model, data, mujoco = self._model, self._data, self._mujoco
        places = self._physics.places[:5]
        move, turn = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        low, high = (model.jnt_range[[model.joint(i).id for i in _arm(model)], end] for end in (0, 1))
        wanted_x = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
        for _ in range(ITERATIONS):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, move, turn, self._site)
            axes = data.site_xmat[self._site].reshape(3, 3)
            # The gripper's z points up the hand, its x from the fixed to the moving jaw.
            up, across = axes[:, 2], axes[:, 0]
            turned = across[0] * wanted_x[1] - across[1] * wanted_x[0]
            # The cross product of the gripper's z with the vertical, and the turn about the vertical that is missing.
            tilt = np.array([up[1], -up[0], turned])
            error = np.concatenate([place - data.site_xpos[self._site], TURN * tilt])
            jacobian = np.concatenate([move[:, self._degrees], TURN * turn[:, self._degrees]])
            now = data.qpos[places]
            change = _step(jacobian, error)
            # Joints that would leave their range stay where they are, and the others do without them.
            blocked = ((now <= low) & (change < 0)) | ((now >= high) & (change > 0))
            if blocked.any():
                change = _step(np.where(blocked, 0.0, jacobian), error)
            data.qpos[places] = np.clip(now + np.clip(change, -0.2, 0.2), low, high)
        return np.degrees(data.qpos[places])

    def miss(self, place: np.ndarray) -> float:
        """How far from ``place`` the last solution is, metres."""
        self._mujoco.mj_kinematics(self._model, self._data)
        return float(np.linalg.norm(place - self._data.site_xpos[self._site]))


def _step(jacobian: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The damped Gauss-Newton step (5,)."""
    return np.linalg.solve(jacobian.T @ jacobian + DAMPING**2 * np.eye(5), jacobian.T @ error)


def _arm(model: Any) -> list[str]:
    return ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"]
