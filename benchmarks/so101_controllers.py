"""Controllers of the SO-101 that see pixels: they find the red block in the front camera by its colour, and the place
on the table from where the camera stands; they know the joints, and plan with the arm's kinematics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from real2sim.policies.policy import Observation, check_frames
from real2sim.so101.physics import ACTIONS_PER_FRAME, IMAGE_SIZE, TASKS, SO101Physics, SO101Start
from real2sim.so101.reach import Reach
from real2sim.so101.scene import BLOCK, CONTROL_HZ, FRONT, TRAY

FIELD_OF_VIEW = 42.0
"""Of the front camera, degrees."""
HIGH, LOW = 0.08, 0.022
"""Heights of the jaws' tips, metres."""
HELD = 7.0
"""Percent below which the gripper has closed on nothing, whatever was held by its corners included."""
TASK_OF = {instruction: task for task, instruction in TASKS.items()}


def find_block(frame: np.ndarray) -> np.ndarray | None:
    """Where the red block is on the table (2,), metres, from the front camera's frame (h w 3); None if it is hidden."""
    red, green, blue = (frame[..., channel].astype(int) for channel in range(3))
    rows, columns = np.nonzero((red > 90) & (green < 0.45 * red) & (blue < 0.45 * red))
    if len(rows) < 5:
        return None
    at, towards = (np.array(place, float) for place in FRONT)
    forward = (towards - at) / np.linalg.norm(towards - at)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    scale = np.tan(np.radians(FIELD_OF_VIEW) / 2) / (IMAGE_SIZE / 2)
    across, below = (
        (columns.mean() + 0.5 - IMAGE_SIZE / 2) * scale,
        (rows.mean() + 0.5 - IMAGE_SIZE / 2) * scale,
    )
    ray = forward + across * right - below * np.cross(right, forward)
    place = at + ray * (BLOCK - at[2]) / ray[2]
    return np.array(place[:2])


@dataclass(frozen=True)
class Manner:
    """How a controller acts."""

    aim: tuple[float, float] = (0.0, 0.0)
    """Offset of the believed place of the block, metres."""
    speed: float = 0.14
    """Metres per second."""
    looks: bool = True
    """It looks at every frame; else at the first alone."""
    noise: float = 0.0
    """Standard deviation of an error of the commanded place, new for each frame, metres."""
    turn: float = 35.0
    """Direction in which the jaws open in a grasp, degrees."""
    low: float = LOW
    """Height of a grasp, metres."""
    grip: float = 4.0
    """Gripper command of a grasp, percent."""
    late: int = 0
    """It acts on what it saw so many frames ago."""
    again: bool = False
    """It grasps again once the gripper has closed on nothing."""


class PixelController:
    """Over the block and down, then close and rise; or behind it and on into the tray."""

    def __init__(self, manner: Manner | None = None) -> None:
        self._manner = manner or Manner()
        self._physics = SO101Physics()
        self._seeds: list[int] | None = None
        self._lanes: list[Plan] = []

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane."""
        self._seeds = [int(seed) for seed in seeds]

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin with one instruction per lane."""
        seeds = self._seeds or [0] * len(instructions)
        self._lanes = [
            Plan(self._physics, self._manner, TASK_OF[text], seed)
            for text, seed in zip(instructions, seeds, strict=True)
        ]

    def act(self, observation: Observation) -> np.ndarray:
        """Joint targets float32 (lanes 5 6)."""
        check_frames(observation.frames, len(self._lanes))
        assert observation.state is not None
        pairs = zip(self._lanes, observation.images["front"], observation.state, strict=True)
        return np.stack([lane.act(frame, state) for lane, frame, state in pairs]).astype(np.float32)


class Plan:
    """One lane of a controller."""

    def __init__(self, physics: SO101Physics, manner: Manner, task: str, seed: int) -> None:
        self._physics, self._manner, self._task = physics, manner, task
        self._rng = np.random.default_rng(seed)
        self._reach = Reach(physics)
        self._block: np.ndarray | None = None
        self._seen: list[np.ndarray] = []
        self._place: np.ndarray | None = None
        self._yaw = 0.0
        self._gripper = 30.0
        self._phase, self._since = 0, 0

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Five joint targets (5 6) for the front camera's frame and the measured joints."""
        if self._place is None:
            # The arm's kinematics alone: where this plan's block lies is not told.
            self._physics.reset(SO101Start(tuple(map(float, state)), (0.4, -0.3, 0.0)))
            self._reach.begin()
            self._place, self._gripper = self._physics.tool, float(state[5])
        if self._block is None or (self._manner.looks and self._phase < 2):
            self._look(frame)
        if self._manner.again and self._phase == 3 and state[5] < HELD:
            self._phase, self._since = 0, 0
        error = self._rng.normal(0.0, 1.0, 3) * self._manner.noise
        return np.stack([self._command(error) for _ in range(ACTIONS_PER_FRAME)])

    def _look(self, frame: np.ndarray) -> None:
        seen = find_block(frame)
        if seen is None:
            return
        self._seen.append(seen + np.array(self._manner.aim))
        self._block = self._seen[max(0, len(self._seen) - 1 - self._manner.late)]

    def _command(self, error: np.ndarray) -> np.ndarray:
        assert self._place is not None
        if self._block is not None:
            (self._lift if self._task == "lift_block" else self._push)(self._block)
        place = self._place + error
        return np.array(
            [*self._reach.joints(np.array([*place[:2], max(place[2], 0.01)]), self._yaw), self._gripper]
        )

    def _towards(self, goal: Sequence[float], speed: float) -> bool:
        """One command towards a place; whether it is reached."""
        assert self._place is not None
        way = np.array(goal, float) - self._place
        length = float(np.linalg.norm(way))
        self._place = self._place + way * min(
            1.0, speed * self._manner.speed / CONTROL_HZ / max(length, 1e-9)
        )
        self._since += 1
        return length < 0.004

    def _next(self) -> None:
        self._phase, self._since = self._phase + 1, 0

    def _lift(self, block: np.ndarray) -> None:
        self._yaw = self._manner.turn
        if self._phase == 0:
            self._gripper = min(55.0, self._gripper + 5.0)
            if self._towards((*block, HIGH), 1.0):
                self._next()
        elif self._phase == 1:
            if self._towards((*block, self._manner.low), 0.7) and self._since > 12:
                self._next()
        elif self._phase == 2:
            self._gripper = max(self._manner.grip, self._gripper - 7.0)
            self._since += 1
            if self._since > 10:
                self._next()
        else:
            self._towards((*block, 0.11), 0.5)

    def _push(self, block: np.ndarray) -> None:
        way = np.array(TRAY) - block
        along = way / max(float(np.linalg.norm(way)), 1e-9)
        self._gripper = max(6.0, self._gripper - 5.0)
        if self._phase < 2:
            self._yaw = float(np.degrees(np.arctan2(along[1], along[0]))) - 90.0
        behind = block - 0.05 * along
        if self._phase == 0:
            if self._towards((*behind, HIGH), 1.0):
                self._next()
        elif self._phase == 1:
            if self._towards((*behind, LOW), 0.8):
                self._next()
        elif self._phase == 2:
            if self._towards((TRAY[0], TRAY[1] - 0.015, LOW), 0.5):
                self._next()
        else:
            self._towards((TRAY[0], TRAY[1] - 0.06, HIGH), 0.8)
