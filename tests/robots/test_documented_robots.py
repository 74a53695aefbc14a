"""The robots that docs/robot.md shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from real2sim.actions import rt1_robot
from real2sim.model_folder import config_from_dict
from real2sim.robot import Robot
from real2sim.vid2world.world_model_config import WorldModelConfig

PAGE = Path(__file__).parents[2] / "docs" / "robot.md"
SHOWN = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)]


def read(values: object) -> Robot:
    return config_from_dict(Robot, values, "docs/robot.md")


def test_the_four_robots_are_shown() -> None:
    assert [values["name"] for values in SHOWN] == ["rt1", "so101", "aloha", "droid"]
    assert [read(values).action_width for values in SHOWN] == [13, 6, 14, 8]


def test_rt1_is_the_robot_of_a_folder_without_a_file() -> None:
    assert read(SHOWN[0]) == rt1_robot()


@pytest.mark.parametrize("values", SHOWN, ids=lambda values: values["name"])
def test_a_small_world_model_fits_every_one_of_them(values: dict[str, object]) -> None:
    robot = read(values)
    model = WorldModelConfig.small().for_robot(robot)
    assert model.image_size == robot.canvas_size
    assert model.unet.action_dim == robot.world_action_width == len(model.action_scale)


def test_three_frames_per_second_are_drawn_of_the_arm_and_of_droid() -> None:
    assert [read(values).frame_hz for values in SHOWN] == [3, 3, 5, 3]
