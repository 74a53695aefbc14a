"""Which robot a world model was trained for, as its folder says; no weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from real2sim.actions import rt1_robot
from real2sim.checks import LARGEST_COUNT, check_whole
from real2sim.files import read_json
from real2sim.model_folder import CONFIG_FILE, read_kind
from real2sim.robot import ROBOT_FILE, Robot, read_robot
from real2sim.robot_match import check_same_robot
from real2sim.vid2world.load import MODEL, RELEASED


def check_model_robot(folder: Path, robot: Robot, where: str, *, trained: bool = True) -> None:
    """Raise a ValueError that names both sides unless the world model in a folder is for ``robot`` of ``where``.

    A folder without ``robot.json`` whose actions have 13 numbers is for RT-1's; of others, and of one that is yet to be
    ``trained``, only the sizes are compared.
    """
    taught, rt1 = read_robot(folder), rt1_robot()
    if taught is not None:
        check_same_robot(taught, f"world model {folder}", robot, where)
    if read_kind(folder) not in (MODEL, RELEASED):
        # Other kinds have configurations of their own; their frames are compared once they are loaded.
        return
    size, width = model_sizes(folder)
    if taught is None and trained and width == rt1.action_width and robot.action_names != rt1.action_names:
        raise ValueError(
            f"world model {folder} has no {ROBOT_FILE}, so it is for RT-1's action ({rt1.action_names[0]}, ...), and "
            f"{where} has {', '.join(robot.action_names[:3])}, ...; if it was trained for this robot, put its "
            f"{ROBOT_FILE} into the folder"
        )
    if size != robot.canvas_size:
        found, wanted = (" x ".join(map(str, pixels)) for pixels in (size, robot.canvas_size))
        raise ValueError(
            f"the world model in {folder} draws frames of {found} pixels, {where} has {wanted}; was it trained on "
            "another camera?"
        )
    if width != robot.world_action_width:
        raise ValueError(
            f"the world model in {folder} takes {width} numbers per frame, robot {robot.name!r} of {where} gives "
            f"{robot.world_action_width} ({robot.actions_per_frame} x {robot.action_width}, {robot.world_action}); was "
            "it trained for another robot?"
        )


def model_sizes(folder: Path) -> tuple[tuple[int, int], int]:
    """Height and width of the frames of a world model, and the numbers of the action that leads to one."""
    path = folder / CONFIG_FILE
    said = read_json(path)
    config = said.get("config") if isinstance(said, dict) else None
    if not isinstance(config, dict):
        raise ValueError(
            f"{path}: config is {_shown(config)}, expected an object with the fields of a world model"
        )
    size = config.get("image_size", [config.get("height"), config.get("width")])
    unet = config.get("unet")
    if not isinstance(unet, dict):
        raise ValueError(f"{path}: field unet is {_shown(unet)}, expected an object")
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError(f"{path}: field image_size is {_shown(size)}, expected height and width")
    names = ("image_size.0", "image_size.1") if "image_size" in config else ("height", "width")
    height, width = (_size(path, name, value) for name, value in zip(names, size, strict=True))
    numbers = unet.get("action_dim")
    if numbers is not None:
        return (height, width), _size(path, "unet.action_dim", numbers)
    scale = config.get("action_scale")
    if not isinstance(scale, list):
        raise ValueError(f"{path}: field action_scale is {_shown(scale)}, expected a list of numbers")
    return (height, width), len(scale)


def _size(path: Path, field: str, value: Any) -> int:
    try:
        return check_whole("it", value, 1, LARGEST_COUNT)
    except ValueError:
        raise ValueError(
            f"{path}: field {field} is {_shown(value)}, expected a whole number above 0"
        ) from None


def _shown(value: Any) -> str:
    """A value of a JSON file as it stands there, or that it is missing."""
    return "missing" if value is None else json.dumps(value)[:60]
