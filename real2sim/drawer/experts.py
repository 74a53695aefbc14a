"""Scripted controllers of the drawer robot: a clean expert for each task, and ways to do it worse.

They see the physics state (hand, handle, drawer), not frames.  They make training data and the open-loop replays; no
evaluated policy contains them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from real2sim.actions import FIELDS, MOVE_ARM, WIDTH
from real2sim.drawer.physics import HAND_HIGH, HAND_LOW, STEP_METRES, TASKS

WORK_HEIGHT = 0.105
"""Height of the hand at which the fingers meet the handle, metres."""
CLEAR_HEIGHT = 0.22
"""Height of the hand at which the fingers pass over the handle, metres."""
FULLY_OPEN_HANDLE_Y = 0.595
"""The expert stops pulling when the handle's bar has come this far towards the robot, metres."""


def robot_action(move: np.ndarray, gripper: float) -> np.ndarray:
    """The 13-number action that moves the hand by ``move`` metres (3,) with the gripper in [-1, 1]."""
    action = np.zeros(WIDTH, dtype=np.float32)
    action[FIELDS["world_vector"]] = np.clip(move, -STEP_METRES, STEP_METRES)
    action[FIELDS["gripper_closedness_action"]] = gripper
    action[FIELDS["terminate_episode"]][MOVE_ARM] = 1.0
    return action


def expert_action(task: str, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
    """The clean expert's action; a function of the current state alone (hand and handle (3,), metres)."""
    move = _close(hand, handle) if task == "close_drawer" else _open(hand, handle)
    return robot_action(move, 1.0 if task == "close_drawer" else -1.0)


def _close(hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
    x, y, z = handle[0] - hand[0], handle[1] - hand[1], WORK_HEIGHT - hand[2]
    in_front = y > 0.015
    lined_up = abs(x) < 0.03
    if in_front and lined_up and abs(z) < 0.03:
        return np.array([x, STEP_METRES, z])
    if in_front:
        return np.array([x, y - 0.07, z])
    if hand[2] < CLEAR_HEIGHT - 0.02 and abs(x) < 0.12:
        return np.array([0.0, 0.0, CLEAR_HEIGHT - hand[2]])
    return np.array([x, y - 0.09, CLEAR_HEIGHT - hand[2]])


def _open(hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
    # The open fingers stand 47 mm before and behind the hand: they straddle the bar.
    x, y = handle[0] - hand[0], handle[1] - 0.012 - hand[1]
    hooked = hand[2] < WORK_HEIGHT + 0.03 and abs(x) < 0.045 and abs(y) < 0.03
    if hooked:
        pull = -STEP_METRES if handle[1] > FULLY_OPEN_HANDLE_Y else 0.0
        return np.array([x * 0.5, pull, WORK_HEIGHT - hand[2]])
    if abs(x) < 0.02 and abs(y) < 0.015:
        return np.array([x, y, WORK_HEIGHT - hand[2]])
    if hand[2] < CLEAR_HEIGHT - 0.02:
        near = abs(x) < 0.10 and abs(y) < 0.12
        return (
            np.array([0.0, 0.0, CLEAR_HEIGHT - hand[2]])
            if near
            else np.array([x, min(y, 0.0), CLEAR_HEIGHT - hand[2]])
        )
    return np.array([x, y, CLEAR_HEIGHT - hand[2]])


@dataclass(frozen=True)
class Flaws:
    """How a controller falls short of the clean expert."""

    noise: float = 0.0
    """Standard deviation of the noise on each displacement, in units of the largest step."""
    random: float = 0.0
    """Probability that a step is replaced by a uniformly random one."""
    scale: float = 1.0
    """Factor on every displacement."""
    aim: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offset of the believed from the true handle position, metres."""
    stop: int = 1000
    """Step from which on it stands still."""
    switch: int = 1000
    """Step from which on it does the other task."""


class FlawedExpert:
    """The expert with :class:`Flaws`; one instance per episode, with its own random numbers."""

    def __init__(self, task: str, flaws: Flaws, rng: np.random.Generator) -> None:
        self.task, self.flaws, self._rng = task, flaws, rng

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        flaws, rng = self.flaws, self._rng
        if step >= flaws.stop:
            return robot_action(np.zeros(3), 1.0 if self.task == "close_drawer" else -1.0)
        task = self.task if step < flaws.switch else next(other for other in TASKS if other != self.task)
        aim = np.array(flaws.aim)
        clean = expert_action(
            task, hand - np.array([0.0, 0.0, aim[2]]), handle + np.array([aim[0], aim[1], 0.0])
        )
        move = (
            clean[FIELDS["world_vector"]] * flaws.scale + rng.normal(0.0, 1.0, 3) * flaws.noise * STEP_METRES
        )
        if rng.random() < flaws.random:
            move = rng.uniform(-STEP_METRES, STEP_METRES, 3)
        return robot_action(move, float(clean[FIELDS["gripper_closedness_action"]][0]))


class Wanderer:
    """Goes from one random waypoint to the next, most of them near the handle; sometimes rests."""

    def __init__(self, rng: np.random.Generator, near: float = 0.7) -> None:
        self._rng, self._near = rng, near
        self._waypoint: np.ndarray | None = None
        self._gripper = float(rng.choice([-1.0, 1.0]))
        self._speed = float(rng.uniform(0.3, 1.0))

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        rng = self._rng
        if self._waypoint is None or np.linalg.norm(self._waypoint - hand) < 0.02 or rng.random() < 0.1:
            if rng.random() < self._near:
                self._waypoint = handle + rng.normal((0.0, 0.0, 0.03), (0.07, 0.06, 0.05))
            else:
                self._waypoint = rng.uniform(HAND_LOW, HAND_HIGH)
            self._waypoint = np.clip(self._waypoint, HAND_LOW, HAND_HIGH)
            if rng.random() < 0.15:
                self._gripper = -self._gripper
        move = (self._waypoint - hand) * self._speed if rng.random() > 0.08 else np.zeros(3)
        return robot_action(move, self._gripper)


class Drifter:
    """Smooth random motion: displacements that follow an autoregressive process."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._memory, self._size = float(rng.uniform(0.3, 0.95)), float(rng.uniform(0.0, 0.8))
        self._pull = float(rng.uniform(0.0, 0.5))
        self._move = np.zeros(3)
        self._gripper = float(rng.choice([-1.0, 1.0]))

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        fresh = self._rng.normal(0.0, 1.0, 3) * np.sqrt(1 - self._memory**2)
        self._move = self._memory * self._move + fresh
        toward = np.clip(handle + np.array([0.0, 0.0, 0.02]) - hand, -STEP_METRES, STEP_METRES)
        return robot_action(self._move * self._size * STEP_METRES + self._pull * toward, self._gripper)


class Interrupted:
    """A flawed expert that moves the drawer part of the way and then does something else.

    Drawers are left at every opening, and the hand rests on, lingers at or leaves a handle that has moved.
    """

    def __init__(self, task: str, flaws: Flaws, rng: np.random.Generator) -> None:
        self._expert = FlawedExpert(task, flaws, rng)
        self._after = str(rng.choice(["rest", "linger", "leave", "other task"]))
        self._linger = Lingerer(rng)
        self._leave = rng.uniform(-STEP_METRES, STEP_METRES, 3) + np.array([0.0, -0.02, 0.03])
        self._other = FlawedExpert(next(other for other in TASKS if other != task), flaws, rng)
        closing = task == "close_drawer"
        self._sign, self._gripper = (1.0, 1.0) if closing else (-1.0, -1.0)
        self._until = float(rng.uniform(0.59, 0.73))
        self._moved = False

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        self._moved = self._moved or self._sign * (handle[1] - self._until) > 0
        if not self._moved:
            return self._expert.act(step, hand, handle)
        if self._after == "linger":
            return self._linger.act(step, hand, handle)
        if self._after == "other task":
            return self._other.act(step, hand, handle)
        return robot_action(self._leave if self._after == "leave" else np.zeros(3), self._gripper)


class Lingerer:
    """Hovers around the handle in small steps, up and down and to the sides, as unsure policies do."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._centre = rng.normal((0.0, -0.01, 0.05), (0.03, 0.04, 0.04))
        self._spread = float(rng.uniform(0.01, 0.05))
        self._gripper = float(rng.choice([-1.0, 1.0]))

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        here = np.array([handle[0], handle[1], WORK_HEIGHT])
        goal = here + self._centre + self._rng.normal(0.0, self._spread, 3)
        return robot_action(goal - hand, self._gripper)


class Hesitant:
    """An expert whose actions reach the robot late, smoothed, held for some steps, or one axis at a time."""

    def __init__(self, task: str, flaws: Flaws, rng: np.random.Generator) -> None:
        self._expert, self._rng = FlawedExpert(task, flaws, rng), rng
        self._memory = float(rng.uniform(0.0, 0.85))
        self._hold = int(rng.choice([1, 1, 2, 3, 4]))
        self._one_axis = bool(rng.random() < 0.25)
        self._grid = float(rng.choice([0.0, 0.0, 0.012, 0.02, 0.03]))
        self._move, self._gripper = np.zeros(3), -1.0

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        if step % self._hold == 0:
            wanted = self._expert.act(step, hand, handle)
            move = wanted[FIELDS["world_vector"]].astype(float)
            self._gripper = float(wanted[FIELDS["gripper_closedness_action"]][0])
            if self._one_axis:
                move = np.where(np.abs(move) == np.abs(move).max(), move, 0.0)
            if self._grid:
                move = np.round(move / self._grid) * self._grid
            self._move = self._memory * self._move + (1 - self._memory) * move
        return robot_action(self._move, self._gripper)


class Hoverer:
    """Goes over, before or behind the handle, stays a little above it, and goes down, pushes or pulls now and then."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._offset = np.array(
            [rng.normal(0, 0.025), rng.choice([-0.08, -0.012, 0.0, 0.03]) + rng.normal(0, 0.015), 0.0]
        )
        self._height = WORK_HEIGHT + float(rng.uniform(-0.01, 0.09))
        self._speed, self._sinking = float(rng.uniform(0.2, 1.0)), float(rng.uniform(0.0, 0.02))
        self._shake = float(rng.uniform(0.0, 0.015))
        self._gripper = float(rng.choice([-1.0, 1.0]))
        self._until, self._pull = int(rng.integers(6, 19)), float(rng.uniform(-1, 1)) * STEP_METRES

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        rng = self._rng
        if step >= self._until:
            move = np.array([0.0, self._pull, 0.0])
        else:
            goal = np.array([handle[0], handle[1], self._height]) + self._offset
            move = (goal - hand) * self._speed
            self._height -= self._sinking * float(np.abs(goal - hand).max() < 0.03)
        if rng.random() < 0.02:
            self._gripper = -self._gripper
        return robot_action(move + rng.normal(0.0, self._shake, 3), self._gripper)


class Reverser:
    """Drags the drawer open or pushes it shut, then back with the hand still at the handle, perhaps several times."""

    def __init__(self, rng: np.random.Generator) -> None:
        task = str(rng.choice(list(TASKS)))
        flaws = Flaws(noise=float(rng.uniform(0.0, 0.3)), scale=float(rng.uniform(0.4, 1.0)))
        self._rng, self._expert = rng, FlawedExpert(task, flaws, rng)
        self._share, self._every = float(rng.uniform(0.2, 1.0)), int(rng.integers(2, 7))
        self._sign = 1.0 if task == "open_drawer" else -1.0
        self._first: float | None = None
        self._since = 0

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        rng = self._rng
        self._first = handle[1] if self._first is None else self._first
        action = self._expert.act(step, hand, handle)
        if self._since == 0 and abs(handle[1] - self._first) < 0.03:
            return action
        self._since += 1
        if self._since % self._every == 0:
            self._sign = -self._sign
        move = np.array([rng.normal(0, 0.004), self._sign * self._share * STEP_METRES, rng.normal(0, 0.006)])
        return robot_action(move, float(action[FIELDS["gripper_closedness_action"]][0]))
