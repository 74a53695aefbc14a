"""What a dataset decides about a new world model: the size of its frames, the width and the scale of its actions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from real2sim.episodes.npz import dataset_files, dataset_robot
from real2sim.episodes.states import has_states_between, object_names
from real2sim.robot import ROBOT_FILE
from real2sim.vid2world.state_config import StateConfig, Target
from real2sim.vid2world.world_model_config import WorldModelConfig

LEARNED_MAP = 16
"""Channels of the map that is drawn from a robot's state."""
LEARNED_POINTS = 48
"""Points that are placed in the image by the state of robot and objects."""


def with_robot_state(model: WorldModelConfig, folder: Path) -> WorldModelConfig:
    """The configuration of a model that is told the state of the dataset's robot at each frame, predicts the next one,
    and learns a map of it; neither kinematics nor cameras need be known.

    Raises ValueError for a robot without a state.
    """
    names = _robot_state_names(folder)
    unet = replace(model.unet, state_dim=len(names), learned_map=LEARNED_MAP)
    return replace(model, unet=unet, state=_state_config(folder, names))


def with_object_state(
    model: WorldModelConfig, folder: Path, derived: tuple[str, ...] = ()
) -> WorldModelConfig:
    """The configuration of a model that predicts the state of robot and objects, and draws each frame from the start
    frame and that state alone, with points that it learns to place in the image.

    Raises ValueError for a robot without a state, and for episodes that do not say where objects are.
    """
    names, objects = _robot_state_names(folder), object_names(dataset_files(folder)[0])
    if not objects:
        raise ValueError(
            f"the episodes of {folder} do not say where objects are (observation.environment_state); leave out "
            "--object-state, and what the robot moves is drawn from the frames before"
        )
    square = model.patch**2
    unet = replace(
        model.unet,
        in_channels=3 * square,
        out_channels=4 * square,
        action_dim=None,
        window=1,
        temporal_convs=0,
        temporal_attentions=0,
        state_dim=len(names) + len(objects),
        learned_points=LEARNED_POINTS,
    )
    state = _state_config(folder, (*names, *objects), derived)
    return replace(model, unet=unet, state=state, draws_from="state", copy_gate=True)


def _state_config(folder: Path, names: tuple[str, ...], derived: tuple[str, ...] = ()) -> StateConfig:
    """Commands are followed one by one where the dataset has the states between its frames."""
    robot = dataset_robot(folder)
    if robot.world_action != "stack" or not all(map(has_states_between, dataset_files(folder))):
        if derived:
            raise ValueError(
                f"--derived is for datasets with the states between frames, which {folder} has not; convert it again, "
                "or leave the option out"
            )
        return StateConfig(names)
    targets = []
    if robot.action_kind == "absolute":
        targets = [Target(name, i) for i, name in enumerate(robot.action_names) if name in robot.state_names]
    return StateConfig(
        names,
        commands_per_frame=robot.actions_per_frame,
        targets=tuple(targets),
        derived=derived,
        object_frames=bool(derived),
    )


def _robot_state_names(folder: Path) -> tuple[str, ...]:
    robot = dataset_robot(folder)
    if not robot.state:
        raise ValueError(
            f"robot {robot.name!r} of {folder} has no state; leave out --robot-state or convert the dataset with one"
        )
    return robot.state_names


def fit_to_dataset(model: WorldModelConfig, folder: Path) -> WorldModelConfig:
    """The configuration with size, action width and action scale of the dataset's robot.

    What ``model`` says other than the default must be what the dataset says, or a ValueError names both; only the
    scale may be chosen freely.  A folder without ``robot.json`` decides the size alone.
    """
    default, robot = WorldModelConfig.small(), dataset_robot(folder)
    fitted = model.for_robot(robot)
    described = (folder / ROBOT_FILE).is_file()
    for name, given, standard, found in (
        ("height and width are", model.image_size, default.image_size, fitted.image_size),
        ("unet.action_dim is", model.unet.action_dim, default.unet.action_dim, fitted.unet.action_dim),
        ("action_scale has a length of", len(model.action_scale), 13, len(fitted.action_scale)),
    ):
        if given not in (standard, found, None):
            raise ValueError(
                f"model.{name} {given}, the episodes of {folder} have {found}; leave the option out or train on other "
                "episodes"
            )
    if not described or model.action_scale != default.action_scale:
        fitted = replace(fitted, action_scale=model.action_scale)
    return (
        fitted if model.unet.position_map else replace(fitted, unet=replace(fitted.unet, position_map=None))
    )
