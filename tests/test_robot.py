"""Robots as data: layouts, canvases, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from real2sim.robot import ActionNumber, Camera, Robot, StateNumber, read_robot
from real2sim.robot_match import check_same_robot

JOINTS = (
    "shoulder_pan.pos",
    "shoulder_lift.pos",
    "elbow_flex.pos",
    "wrist_flex.pos",
    "wrist_roll.pos",
    "gripper.pos",
)
SO101 = Robot(
    name="so101",
    action=tuple(ActionNumber(name, -110, 110, "deg") for name in JOINTS),
    action_kind="absolute",
    control_hz=30,
    actions_per_frame=5,
    cameras=(Camera("front", 24, 32), Camera("wrist", 16, 16)),
    state=tuple(StateNumber(name, "deg") for name in JOINTS),
    state_from="action",
)


def test_a_robot_is_read_as_it_was_written(tmp_path):
    SO101.save(tmp_path)
    assert read_robot(tmp_path) == SO101


def test_a_folder_without_robot_json_has_none(tmp_path):
    assert read_robot(tmp_path) is None


def test_cameras_are_cut_out_of_the_canvas_as_they_were_put_in():
    rng = np.random.default_rng(0)
    images = {
        "front": rng.integers(256, size=(2, 24, 32, 3), dtype=np.uint8),
        "wrist": rng.integers(256, size=(2, 16, 16, 3), dtype=np.uint8),
    }
    canvas = SO101.canvas(images)
    assert canvas.shape == (2, 24, 48, 3)
    assert (canvas[:, 16:, 32:] == 0).all()
    for name, frames in SO101.images(canvas).items():
        np.testing.assert_array_equal(frames, images[name])


def test_the_world_model_is_given_all_the_last_or_the_sum_of_the_actions():
    actions = np.arange(2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6)
    np.testing.assert_array_equal(SO101.world_actions(actions), actions.reshape(2, 30))
    last = replace(SO101, world_action="last")
    np.testing.assert_array_equal(last.world_actions(actions), actions[:, 4])
    deltas = replace(SO101, world_action="sum", action_kind="delta", state_from="model")
    np.testing.assert_array_equal(deltas.world_actions(actions), actions.sum(axis=1))
    assert (SO101.world_action_width, last.world_action_width, deltas.world_action_width) == (30, 6, 6)


def test_robots_of_equal_width_whose_arms_are_swapped_do_not_fit():
    swapped = replace(SO101, action=SO101.action[::-1])
    with pytest.raises(
        ValueError,
        match=r"suite drawer and policy p do not fit: action number 0 is "
        r"'shoulder_pan.pos' in the one, 'gripper.pos' in the other",
    ):
        check_same_robot(SO101, "suite drawer", swapped, "policy p")


def test_bounds_and_the_name_may_differ():
    other = replace(SO101, name="my arm", action=tuple(replace(n, low=-90) for n in SO101.action))
    check_same_robot(SO101, "a", other, "b")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"action": ()}, "no action numbers"),
        ({"action": (SO101.action[0], SO101.action[0])}, "two action numbers called 'shoulder_pan.pos'"),
        ({"control_hz": float("nan")}, "control_hz is nan"),
        ({"actions_per_frame": 0}, "actions_per_frame is 0"),
        ({"world_action": "sum"}, "sum of absolute targets"),
        ({"state_from": None}, "a state needs a source"),
        (
            {"one_hot": (("gripper.pos", "wrist_roll.pos"),)},
            "one_hot names 'gripper.pos', which is no binary",
        ),
        ({"terminate": ("done",)}, "terminate names 'done'"),
        ({"action_kind": "delta"}, "needs absolute targets"),
    ],
)
def test_what_makes_no_sense_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        replace(SO101, **change)


def test_bounds_must_be_finite_and_ordered():
    with pytest.raises(ValueError, match=r"action number 'x' has the bounds 1 to 1"):
        ActionNumber("x", 1, 1)


def test_the_robot_of_a_folder_is_read_once_and_again_when_its_file_changes(tmp_path: Path) -> None:
    robot = Robot("one", (ActionNumber("x"),))
    robot.save(tmp_path)
    first = read_robot(tmp_path)
    assert first == robot
    assert read_robot(tmp_path) is first
    replace(robot, name="two").save(tmp_path)
    changed = read_robot(tmp_path)
    assert changed is not None
    assert changed.name == "two"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ActionNumber("a", -1.0, 1e300), "bounds -1.0 to 1e.300; expected numbers up to 1e.12"),
        (lambda: ActionNumber("a", 0.0, 1e-320), "expected numbers up to 1e.12, at least 1e-12 apart"),
        (
            lambda: Robot("r", (ActionNumber("a"),), "relative", control_hz=1e-320),
            "control_hz is 1e-320; expected at least",
        ),
    ],
)
def test_numbers_that_float32_does_not_hold_apart_are_refused(
    make: Callable[[], object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()
