"""Which robot a world model was trained for, as its folder says; no weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from real2sim.actions import rt1_robot
from real2sim.model_folder import read_config, read_kind
from real2sim.robot import ROBOT_FILE, Robot, read_robot
from real2sim.robot_match import check_same_robot
from real2sim.vid2world.load import MODEL, RELEASED
from real2sim.vid2world.world_model_config import WorldModelConfig

if TYPE_CHECKING:
    from real2sim.vid2world.released.config import Vid2WorldConfig


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
    config = model_config(folder)
    size, told = config.image_size, config.unet.action_dim
    width = len(config.action_scale) if told is None else told
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


def model_config(folder: Path) -> WorldModelConfig | Vid2WorldConfig:
    """What the folder of a world model says of it, checked; no weights are read."""
    if read_kind(folder) == RELEASED:
        # Its parts import all networks.
        from real2sim.vid2world.released.config import Vid2WorldConfig

        return read_config(folder, RELEASED, Vid2WorldConfig)
    return read_config(folder, MODEL, WorldModelConfig)
