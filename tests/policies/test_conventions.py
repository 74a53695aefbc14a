from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from real2sim.actions import FIELDS, WIDTH, pack, rt1_robot
from real2sim.policies.conventions import (
    CONVENTIONS,
    StickyGripper,
    axis_angle_from_rpy,
    closedness_from_opening,
    find_convention,
    widowx_actions,
)
from real2sim.robot import ActionNumber, Robot


def test_gripper_closes_at_plus_one() -> None:
    assert closedness_from_opening(np.array([1.0, 0.5, 0.0])).tolist() == [-1, 0, 1]


def test_a_turn_about_one_axis_is_that_axis_times_the_angle() -> None:
    np.testing.assert_allclose(
        axis_angle_from_rpy(np.diag([0.3, -0.2, 1.0])), np.diag([0.3, -0.2, 1.0]), atol=1e-6
    )


def test_roll_comes_before_yaw() -> None:
    # A quarter roll and a quarter yaw about fixed axes turn a third about the diagonal.
    third = 2 * np.pi / 3 / np.sqrt(3)
    np.testing.assert_allclose(
        axis_angle_from_rpy(np.array([np.pi / 2, 0, np.pi / 2])), [third, third, third], atol=1e-6
    )


def test_widowx_moves_five_centimetres_at_most() -> None:
    action = widowx_actions(pack({"world_vector": [1.75, -0.875, 3.0], "rotation_delta": [0, 1.4, 0]}))
    np.testing.assert_allclose(action[FIELDS["world_vector"]], [0.05, -0.025, 0.05], atol=1e-7)
    np.testing.assert_allclose(action[FIELDS["rotation_delta"]], [0, 0.25, 0], atol=1e-6)


@pytest.mark.parametrize(("said", "done"), [(0.3, 1.0), (-0.3, -1.0)])
def test_widowx_gripper_is_binary_and_plus_one_closes(said: float, done: float) -> None:
    action = widowx_actions(pack({"gripper_closedness_action": [said]}))
    assert action[FIELDS["gripper_closedness_action"]] == done


def test_a_sticky_gripper_holds_a_large_change_and_passes_small_ones() -> None:
    gripper = StickyGripper(hold=3)
    said = [1.0, 0.9, 0.1, 0.1, 0.1, 0.1, 0.2]
    heard = [float(gripper(np.array([value]))[0]) for value in said]
    assert heard == pytest.approx([0, 0.1, 0.8, 0.8, 0.8, 0.0, -0.1])


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_named_convention_gives_our_numbers_and_stands_in_the_documents(name: str) -> None:
    convention = find_convention(name)
    action = convention.begin()(np.full(convention.width or WIDTH, 0.25, np.float32))
    assert action.shape == (8 if name.startswith("droid") else 13,)
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs/actions.md").read_text()


def droid(name: str, kind: Literal["absolute", "delta"], first: int = 0) -> Robot:
    joints = [ActionNumber(f"{name}{place}") for place in range(first, first + 7)]
    return Robot("panda", (*joints, ActionNumber("gripper_position", 0, 1)), kind)


def test_a_droid_gripper_is_open_or_closed_and_velocities_are_clipped() -> None:
    said = np.array([0.2, -3, 3, 0, 0, 0, 0, 0.51], np.float32)
    moved = find_convention("droid-joint-velocity").begin()(said)
    np.testing.assert_allclose(moved, [0.2, -1, 1, 0, 0, 0, 0, 1])
    told = find_convention("droid-joint-position").begin()(said - [0, 0, 0, 0, 0, 0, 0, 0.02])
    np.testing.assert_allclose(told, [0.2, -3, 3, 0, 0, 0, 0, 0])


def test_droid_s_numbers_go_to_robots_with_these_joints_and_to_no_others() -> None:
    velocity, position = (find_convention(f"droid-joint-{kind}") for kind in ("velocity", "position"))
    for fits, name in (
        (droid("joint_velocity.", "delta"), "droid-joint-velocity"),
        (droid("joint_", "delta"), "droid-joint-velocity"),
        (droid("joint_position.", "absolute"), "droid-joint-position"),
        (droid("panda_joint", "absolute", 1), "droid-joint-position"),
    ):
        find_convention(name).check(fits, name)
    wrong = (
        (velocity, droid("joint_position.", "delta")),
        (velocity, droid("joint_", "absolute")),
        (position, droid("joint_velocity.", "absolute")),
        (position, droid("joint_position.", "delta")),
        (position, droid("joint_", "absolute", 3)),
        (position, rt1_robot()),
    )
    for convention, robot in wrong:
        with pytest.raises(
            ValueError, match=r"is for robots whose action is 7 joint \w+s in radians and a gripper"
        ):
            convention.check(
                robot, "droid-joint-velocity" if convention is velocity else "droid-joint-position"
            )
    with pytest.raises(ValueError, match="is for robots with RT-1's action"):
        find_convention("xyz-rpy-opening").check(droid("joint_", "delta"), "xyz-rpy-opening")


def test_an_unknown_convention_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown action convention 'xyz'; there are real2sim, "):
        find_convention("xyz")
