"""The robot of a LeRobot dataset, as far as the dataset says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from real2sim import robot as robots
from real2sim.episodes.lerobot.layout import Camera

if TYPE_CHECKING:
    from real2sim.episodes.lerobot.dataset import LeRobotDataset


def describe_robot(
    dataset: LeRobotDataset,
    *,
    cameras: Sequence[Camera],
    size: tuple[int, int] | None,
    stride: int,
    action_kind: Literal["absolute", "delta"],
    world_action: Literal["stack", "last", "sum"],
    units: Sequence[str],
    name: str | None,
    state_from: robots.StateSource | None = None,
) -> robots.Robot:
    """The robot of a dataset, with bounds of -1 to 1 for every action number; a state that absolute actions command is
    taken from them in a world model unless ``state_from`` says otherwise."""
    layout, action, state = dataset.layout, dataset.action, dataset.state
    if len(units) not in (0, 1, len(action.names)):
        raise ValueError(
            f"--units names {len(units)} units, the actions have {len(action.names)} numbers: "
            f"{', '.join(action.names)}"
            "; give one for each, or one for all"
        )
    each = list(units) * (len(action.names) if len(units) == 1 else 1) or [""] * len(action.names)
    unit = dict(zip(action.names, each, strict=True))
    numbers = (
        () if state is None else tuple(robots.StateNumber(item, unit.get(item, "")) for item in state.names)
    )
    commanded = action_kind == "absolute" and {number.name for number in numbers} <= set(action.names)
    return robots.Robot(
        name=name or layout.robot_type or layout.folder.resolve().name,
        action=tuple(robots.ActionNumber(item, unit=unit[item]) for item in action.names),
        action_kind=action_kind,
        terminate=None,
        control_hz=layout.fps,
        actions_per_frame=stride,
        world_action=world_action,
        cameras=tuple(
            robots.Camera(camera.name, *(size or (camera.height, camera.width))) for camera in cameras
        ),
        state=numbers,
        state_from=None if not numbers else state_from or ("action" if commanded else "model"),
    )
