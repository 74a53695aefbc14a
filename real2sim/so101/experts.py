"""Scripted controllers of the SO-101: an expert for each task, and ways to do it worse.

They see the physics state (tool, block), not frames, and answer with joint targets.  They make training data; no
evaluated policy contains them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from real2sim.so101.physics import TASKS, SO101Physics
from real2sim.so101.reach import Reach
from real2sim.so101.scene import BLOCK, CONTROL_HZ, TRAY

CLEAR, LOW, RAISED = 0.075, 0.020, 0.105
"""Heights of the point between the jaws, metres: above the block, at the block, after a lift."""
CLOSED, OPEN, GRASP = 8.0, 50.0, 5.0
"""Gripper commands in percent: for pushing, before a grasp, for a grasp."""
TOUCH = BLOCK + 0.010
"""Distance of the tool from the block's middle at which closed jaws touch it, metres."""
SPEED, PUSH_SPEED = 0.16, 0.075
"""Metres per second."""


@dataclass(frozen=True)
class Flaws:
    """How a controller falls short of the expert."""

    noise: float = 0.0
    """Standard deviation of a slowly changing error of the commanded place, metres."""
    speed: float = 1.0
    """Factor on every speed."""
    aim: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offset of the believed from the true place of the block, metres."""
    turn: float = 0.0
    """Error of the jaws' direction in a grasp, degrees."""
    height: float = 0.0
    """Offset of the height at which it grasps or pushes, metres."""
    stop: float = 100.0
    """Seconds after which it stands still."""
    switch: float = 100.0
    """Seconds after which it does the other task."""
    release: float = 100.0
    """Seconds after which it opens the gripper."""
    grasp: float = GRASP
    """Gripper command of a grasp, percent; the block is 27 percent wide."""
    memory: float = 0.0
    """Share of the last joint command in each new one: an arm that is late."""


class Command:
    """Where the tool is sent: a place that moves towards way points at a limited speed."""

    def __init__(self, physics: SO101Physics) -> None:
        self._reach = Reach(physics)
        self._reach.begin()
        self.place = physics.tool
        self.yaw = float(np.degrees(np.arctan2(self.place[1], self.place[0] - 0.039)))
        self.gripper = float(physics.state[5])

    def towards(self, goal: np.ndarray, speed: float) -> None:
        """Move the place towards ``goal`` (3,) for one command."""
        way = goal - self.place
        length = float(np.linalg.norm(way))
        self.place = self.place + way * min(1.0, speed / CONTROL_HZ / max(length, 1e-9))

    def joints(self, error: np.ndarray | float = 0.0) -> np.ndarray:
        """The joint targets (6,) of this command; ``error`` (3,) is added to the place."""
        place = self.place + error
        place = np.array([*place[:2], max(place[2], 0.008)])
        return np.array([*self._reach.joints(place, self.yaw), self.gripper])


class FlawedExpert:
    """The expert of a task with :class:`Flaws`; one instance per episode, with its own random numbers."""

    def __init__(self, task: str, flaws: Flaws, physics: SO101Physics, rng: np.random.Generator) -> None:
        self.task, self.flaws, self._rng = task, flaws, rng
        self._command = Command(physics)
        self._phase = 0
        self._since = 0
        self._error = np.zeros(3)
        self._joints: np.ndarray | None = None

    def act(self, step: int, tool: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Joint targets (6,) of a command, from the tool's (3,) and the block's (4,) place."""
        flaws, seconds = self.flaws, step / CONTROL_HZ
        if seconds >= flaws.stop and self._joints is not None:
            return self._joints
        if seconds >= flaws.switch and self.task in TASKS:
            self.task = next(other for other in TASKS if other != self.task)
            self.flaws = Flaws(noise=flaws.noise, speed=flaws.speed)
            self._phase = 0
        believed = block.astype(float) + np.array([*flaws.aim[:2], 0.0, flaws.turn])
        if self.task == "lift_block":
            self._lift(tool, believed)
        else:
            self._push(tool, believed)
        if seconds >= flaws.release:
            self._command.gripper = OPEN
        self._error = 0.8 * self._error + self._rng.normal(0.0, 0.6, 3) * flaws.noise
        joints = self._command.joints(self._error)
        if self._joints is not None and flaws.memory:
            joints = flaws.memory * self._joints + (1 - flaws.memory) * joints
        self._joints = joints
        return joints

    def _next(self) -> None:
        self._phase += 1
        self._since = 0

    def _lift(self, tool: np.ndarray, block: np.ndarray) -> None:
        command, flaws = self._command, self.flaws
        low = LOW + flaws.aim[2] + flaws.height
        self._since += 1
        if self._phase < 2:
            command.yaw = grasp_yaw(block)
        if self._phase == 0:
            command.gripper = OPEN
            goal = np.array([*block[:2], max(CLEAR, low)])
            command.towards(goal, SPEED * flaws.speed)
            if np.linalg.norm(tool - goal) < 0.012 + flaws.noise and self._since > 3:
                self._next()
        elif self._phase == 1:
            goal = np.array([*block[:2], low])
            command.towards(goal, 0.8 * SPEED * flaws.speed)
            if abs(tool[2] - low) < 0.006 or self._since > 3 * CONTROL_HZ:
                self._next()
        elif self._phase == 2:
            command.gripper = max(flaws.grasp, command.gripper - 6.0)
            if self._since > 0.6 * CONTROL_HZ:
                self._next()
        else:
            command.towards(np.array([*command.place[:2], RAISED]), 0.6 * SPEED * flaws.speed)

    def _push(self, tool: np.ndarray, block: np.ndarray) -> None:
        command, flaws = self._command, self.flaws
        goal = np.array([TRAY[0], TRAY[1] + 0.004])
        way = goal - block[:2]
        along = way / max(float(np.linalg.norm(way)), 1e-9)
        # Closed jaws are widest along the direction in which they open: across the push.
        command.yaw = float(np.degrees(np.arctan2(along[1], along[0]))) - 90.0
        low = LOW + 0.004 + flaws.aim[2] + flaws.height
        behind = block[:2] - along * (TOUCH + 0.025)
        command.gripper = max(CLOSED, command.gripper - 4.0)
        self._since += 1
        if self._phase == 0:
            command.towards(np.array([*behind, max(CLEAR, low)]), SPEED * flaws.speed)
            if np.linalg.norm(tool[:2] - behind) < 0.012 + flaws.noise and self._since > 3:
                self._next()
        elif self._phase == 1:
            command.towards(np.array([*behind, low]), 0.8 * SPEED * flaws.speed)
            if abs(tool[2] - low) < 0.008 or self._since > 3 * CONTROL_HZ:
                self._next()
        elif self._phase == 2:
            aside = (block[:2] - tool[:2]) - along * float((block[:2] - tool[:2]) @ along)
            move = along * PUSH_SPEED * flaws.speed / CONTROL_HZ + 0.25 * aside
            command.place = np.array([*(command.place[:2] + move), low])
            if block[1] > TRAY[1] - 0.004 or way @ way < 0.008**2:
                self._next()
        else:
            back = np.array([*(command.place[:2] - 0.02 * along), RAISED])
            command.towards(back, SPEED * flaws.speed)


def grasp_yaw(block: np.ndarray) -> float:
    """Direction in which the jaws open around the block's sides, within 45 degrees of away from the base, degrees."""
    away = float(np.degrees(np.arctan2(block[1], block[0] - 0.039)))
    return away + (block[3] - away + 45.0) % 90.0 - 45.0


class Wanderer:
    """Goes from one random way point to the next, most of them near the block, the gripper opening and closing."""

    def __init__(self, physics: SO101Physics, rng: np.random.Generator) -> None:
        self._rng, self._command = rng, Command(physics)
        self._goal: np.ndarray | None = None
        self._speed = float(rng.uniform(0.04, 0.2))
        self._low = float(rng.uniform(0.3, 0.9))

    def act(self, step: int, tool: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Joint targets (6,) of a command."""
        rng, command = self._rng, self._command
        if self._goal is None or np.linalg.norm(self._goal - command.place) < 0.008 or rng.random() < 0.02:
            height = rng.uniform(0.012, 0.04) if rng.random() < self._low else rng.uniform(0.04, 0.12)
            if rng.random() < 0.75:
                place = block[:2] + rng.normal(0.0, 0.04, 2)
            else:
                place = np.array([rng.uniform(0.17, 0.28), rng.uniform(-0.12, 0.16)])
            self._goal = np.array([*np.clip(place, (0.16, -0.14), (0.29, 0.17)), height])
            if rng.random() < 0.4:
                command.gripper = float(rng.uniform(0.0, 60.0))
            if rng.random() < 0.3:
                command.yaw = command.yaw + float(rng.uniform(-40.0, 40.0))
            command.yaw = float(np.clip(command.yaw, -80.0, 80.0))
        command.towards(self._goal, self._speed)
        return command.joints()


class Drifter:
    """Smooth random motion of the joints."""

    def __init__(self, physics: SO101Physics, rng: np.random.Generator) -> None:
        self._rng = rng
        self._begin = physics.state.astype(float)
        self._offset, self._pace = np.zeros(6), np.zeros(6)
        self._size = float(rng.uniform(0.2, 1.6))

    def act(self, step: int, tool: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Joint targets (6,) of a command."""
        self._pace = 0.93 * self._pace + self._rng.normal(0.0, 0.3, 6) * self._size
        self._offset = 0.985 * (self._offset + self._pace * np.array([1, 1, 1, 1, 1.5, 1.5]))
        return self._begin + self._offset
