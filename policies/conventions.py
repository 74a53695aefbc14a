"""Action conventions of other robots and policies, converted to ours (see docs/actions.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from real2sim.actions import FIELDS, MOVE_ARM, WIDTH, pack, rt1_robot
from real2sim.robot import Robot

OWN_LAYOUT = "real2sim"
"""The action numbers of the robot's own layout, as they are."""
NATIVE = "native"
"""The same numbers, found by the names that the server gives them."""
WIDOWX_TRAINED = {"world_vector": 1.75, "rotation_delta": 1.4}
"""RT-1 names WidowX actions in plus or minus these ranges (SIMPLER, widowx_bridge)."""
WIDOWX_EXECUTED = {"world_vector": 0.05, "rotation_delta": 0.25}
"""The range that the robot executes: metres and radians per step."""


def closedness_from_opening(opening: np.ndarray) -> np.ndarray:
    """Gripper closedness (+1 closed, -1 open) from an opening between 0 (closed) and 1 (open)."""
    return 1.0 - 2.0 * np.asarray(opening, dtype=np.float32)


def axis_angle_from_rpy(rpy: np.ndarray) -> np.ndarray:
    """Rotation vectors (... 3), axis times radians, from roll, pitch, yaw (... 3) about the fixed axes x, y, z."""
    angles = np.asarray(rpy, dtype=np.float64)
    vectors = Rotation.from_euler("xyz", angles.reshape(-1, 3)).as_rotvec()
    return vectors.reshape(angles.shape).astype(np.float32)


def widowx_actions(actions: np.ndarray) -> np.ndarray:
    """RT-1's actions (... 13) as the WidowX robot executes them.

    World vector and rotation are rescaled and clipped, roll-pitch-yaw becomes axis-angle, and the gripper becomes +1
    or -1.  RT-1's +1 closes, as ours does; SIMPLER flips the sign because its WidowX opens on +1.
    """
    result = np.array(actions, dtype=np.float32)
    for name, trained in WIDOWX_TRAINED.items():
        limit = WIDOWX_EXECUTED[name]
        result[..., FIELDS[name]] = np.clip(result[..., FIELDS[name]] / trained * limit, -limit, limit)
    result[..., FIELDS["rotation_delta"]] = axis_angle_from_rpy(result[..., FIELDS["rotation_delta"]])
    closes = result[..., FIELDS["gripper_closedness_action"]] > 0
    result[..., FIELDS["gripper_closedness_action"]] = np.where(closes, 1.0, -1.0)
    return result


class StickyGripper:
    """Octo's gripper on the Google robot: a change of opening is a command that is held for a while.

    Each call takes the policy's openings (b,), 0 to 1, and gives closedness (b,): the drop since the last call,
    or, once that exceeds 0.5 either way, this value for ``hold`` steps.
    """

    def __init__(self, hold: int = 15) -> None:
        self._hold = hold
        self._last: np.ndarray | None = None

    def __call__(self, openings: np.ndarray) -> np.ndarray:
        openings = np.asarray(openings, dtype=np.float32)
        if self._last is None:
            self._last = openings.copy()
            self._held = np.zeros_like(openings)
            self._left = np.zeros(openings.shape, dtype=int)
        relative = self._last - openings
        self._last = openings.copy()
        begins = (np.abs(relative) > 0.5) & (self._left == 0)
        self._held = np.where(begins, relative, self._held)
        self._left = np.where(begins, self._hold, self._left)
        commanded = np.where(self._left > 0, self._held, relative)
        self._left = np.maximum(self._left - 1, 0)
        return commanded


def droid_actions(action: np.ndarray, *, velocities: bool) -> np.ndarray:
    """DROID's 8 numbers as its robot is told them: seven joints, then the gripper, 0 open or 1 closed.

    openpi's client for the DROID robot closes the gripper above 0.5 and clips velocities to -1..1.
    """
    result = np.array(action, dtype=np.float32)
    if velocities:
        result[..., :7] = np.clip(result[..., :7], -1, 1)
    result[..., 7] = result[..., 7] > 0.5
    return result


def check_rt1_action(robot: Robot, convention: str) -> None:
    """Raise a ValueError unless a robot has RT-1's action."""
    if robot.action_names != rt1_robot().action_names:
        raise ValueError(
            f"convention {convention!r} is for robots with RT-1's action, robot {robot.name!r} has "
            f"{', '.join(robot.action_names)}"
        )


def check_droid(robot: Robot, convention: str) -> None:
    """Raise a ValueError unless a robot's action is seven joints in order and a gripper, of the kind in question.

    Names that say neither position nor velocity (``joint_0``) are positions where actions are absolute.
    """
    kind = convention.rsplit("-", 1)[1]
    other = "position" if kind == "velocity" else "velocity"
    names = [name.lower() for name in robot.action_names]
    joints = [re.search(r"joint.*?(\d+)", name) for name in names[:7]]
    numbers = [int(found[1]) if found else -1 for found in joints]
    absolute = robot.action_kind == "absolute"
    said = absolute if kind == "position" else not absolute or all(kind in name for name in names[:7])
    if (
        len(names) != 8
        or "gripper" not in names[7]
        or numbers not in (list(range(7)), list(range(1, 8)))
        or any(other in name for name in names[:7])
        or not said
        or any(number.unit == "deg" for number in robot.action[:7])
    ):
        plural = "positions" if kind == "position" else "velocities"
        raise ValueError(
            f"convention {convention!r} is for robots whose action is 7 joint {plural} in radians "
            f"and a gripper, robot {robot.name!r} has {', '.join(robot.action_names)} ({robot.action_kind})"
        )


def check_nothing(robot: Robot, convention: str) -> None:
    """Any robot will do."""


@dataclass(frozen=True)
class Convention:
    """An action convention: what the numbers of an action mean."""

    width: int | None
    """Numbers per action; None for as many as the robot has."""
    begin: Callable[[], Callable[[np.ndarray], np.ndarray]]
    """Begins an episode: gives a function from each action (width,) to the robot's."""
    check: Callable[[Robot, str], None] = check_rt1_action
    """Raises a ValueError for a robot that it is not for; given the convention's name as well."""


def find_convention(name: str) -> Convention:
    """The convention of that name; a ValueError lists those that exist."""
    if name not in CONVENTIONS:
        raise ValueError(f"unknown action convention {name!r}; there are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def _hand(action: np.ndarray, closedness: np.ndarray) -> np.ndarray:
    return pack(
        {
            "world_vector": action[:3],
            "rotation_delta": axis_angle_from_rpy(action[3:6]),
            "gripper_closedness_action": closedness,
            "terminate_episode": np.eye(3)[MOVE_ARM],
        }
    )


def _sticky() -> Callable[[np.ndarray], np.ndarray]:
    gripper = StickyGripper()
    return lambda action: _hand(action, gripper(action[6:]))


CONVENTIONS: Mapping[str, Convention] = {
    OWN_LAYOUT: Convention(None, lambda: lambda action: action, check_nothing),
    NATIVE: Convention(None, lambda: lambda action: action, check_nothing),
    "rt1-widowx": Convention(WIDTH, lambda: widowx_actions),
    "xyz-rpy-opening": Convention(
        7, lambda: lambda action: _hand(action, closedness_from_opening(action[6:]))
    ),
    "xyz-rpy-opening-sticky": Convention(7, _sticky),
    "xyz-rpy-closedness": Convention(7, lambda: lambda action: _hand(action, action[6:])),
    "droid-joint-velocity": Convention(
        8, lambda: lambda action: droid_actions(action, velocities=True), check_droid
    ),
    "droid-joint-position": Convention(
        8, lambda: lambda action: droid_actions(action, velocities=False), check_droid
    ),
}
"""By the names that policy servers use (docs/actions.md)."""
