"""The robot of an RLDS dataset, as far as the dataset says."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from real2sim import robot as robots
from real2sim.actions import FIELDS, ActionBounds
from real2sim.episodes.rlds.layout import RLDSLayout

LOG = logging.getLogger(__name__)
RATES = {
    "fractal20220817_data": 3.0,
    "bridge": 5.0,
    "bridge_dataset": 5.0,
    "bridge_orig": 5.0,
    "droid": 15.0,
    "droid_100": 15.0,
}
"""Actions per second of datasets that are often used, by name."""
DEFAULT_RATE = 3.0
UNITS = {
    "base_displacement_vector": "m",
    "base_displacement_vertical_rotation": "rad",
    "rotation_delta": "rad",
    "world_vector": "m",
}


def is_rt1(layout: RLDSLayout) -> bool:
    """Whether the actions are RT-1's 13 numbers."""
    return tuple(feature.path.rsplit("/", 1)[1] for feature in layout.action) == tuple(FIELDS)


def control_rate(dataset: str, layout: RLDSLayout, asked: float | None) -> float:
    """Actions per second: what the user says, or what is known of the dataset; a guess is said."""
    if asked is not None:
        return asked
    name = dataset.split("/")[0]
    if name in RATES or is_rt1(layout):
        return RATES.get(name, DEFAULT_RATE)
    LOG.info(
        "%s does not say its control rate; %g Hz is assumed, change it with --control-hz", name, DEFAULT_RATE
    )
    return DEFAULT_RATE


def describe_robot(
    dataset: str,
    layout: RLDSLayout,
    *,
    size: tuple[int, int],
    control_hz: float,
    stride: int,
    action_kind: Literal["absolute", "delta"],
    world_action: Literal["stack", "last", "sum"],
    units: Sequence[str],
    name: str | None,
) -> robots.Robot:
    """The robot, with RT-1's bounds for RT-1's actions and -1 to 1 for others."""
    names = layout.action_names
    if len(units) not in (0, 1, len(names)):
        raise ValueError(
            f"--units names {len(units)} units, the actions have {len(names)} numbers: {', '.join(names)}"
            "; give one for each, or one for all"
        )
    given = list(units) * (len(names) if len(units) == 1 else 1) or [
        UNITS.get(item.split(".")[0], "") for item in names
    ]
    numbers = tuple(robots.ActionNumber(item, unit=unit) for item, unit in zip(names, given, strict=True))
    if is_rt1(layout):
        bounds = ActionBounds()
        numbers = tuple(
            robots.ActionNumber(number.name, float(low), float(high), number.unit)
            for number, low, high in zip(numbers, bounds.low, bounds.high, strict=True)
        )
    ends = tuple(item for item in names if item.split(".")[0] == "terminate_episode")
    unit = {number.name: number.unit for number in numbers}
    state = tuple(robots.StateNumber(item, unit.get(item, "")) for item in layout.state_names)
    commanded = action_kind == "absolute" and set(layout.state_names) <= set(names)
    return robots.Robot(
        name=name or ("rt1" if is_rt1(layout) else dataset.split("/")[0]),
        action=numbers,
        action_kind=action_kind,
        terminate=ends or None,
        control_hz=control_hz,
        actions_per_frame=stride,
        world_action=world_action,
        cameras=tuple(robots.Camera(camera, *size) for camera in layout.camera_names),
        state=state,
        state_from=None if not state else "action" if commanded else "model",
    )
