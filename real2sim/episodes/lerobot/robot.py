"""The robot of a LeRobot dataset, as far as the dataset says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from real2sim import robot as robots
from real2sim.episodes.lerobot.layout import Camera, Layout

if TYPE_CHECKING:
    from real2sim.episodes.lerobot.dataset import LeRobotDataset

MARGIN = 0.1
"""Share of the recorded range by which the bounds of an action number go beyond it on either side."""


def frame_stride(layout: Layout, hz: float | None) -> int:
    """Source frames per kept frame; ValueError unless it is a whole number."""
    if hz is None:
        return 1
    stride = round(layout.fps / hz)
    if stride < 1 or abs(layout.fps / hz - stride) > 1e-6 * stride:
        possible = [layout.fps / k for k in range(1, 61) if (layout.fps / k).is_integer()]
        raise ValueError(
            f"{layout.folder} has {layout.fps:g} frames per second, of which {hz:g} cannot be kept evenly; "
            f"choose one of {', '.join(f'{rate:g}' for rate in possible) or f'{layout.fps:g}'}"
        )
    return stride


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
) -> robots.Robot:
    """The robot of a dataset, with bounds of -1 to 1 for every action number."""
    layout, action, state = dataset.layout, dataset.action, dataset.state
    if len(units) not in (0, 1, len(action.names)):
        raise ValueError(
            f"--units names {len(units)} units, the actions have {len(action.names)} numbers: "
            f"{', '.join(action.names)}"
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
        state_from=None if not numbers else "action" if commanded else "model",
    )


def action_bounds(
    numbers: Sequence[robots.ActionNumber],
    low: np.ndarray,
    high: np.ndarray,
    found: robots.Robot | None = None,
) -> tuple[robots.ActionNumber, ...]:
    """The numbers with bounds around what was recorded, ``low`` to ``high`` (n,), and around those of ``found``.

    They go beyond the recorded range by a tenth of it, so that a policy may command a little more than was shown.
    """
    bounded = []
    for i, number in enumerate(numbers):
        margin = MARGIN * float(high[i] - low[i]) or 1.0
        lower, upper = _rounded(float(low[i]) - margin, -1), _rounded(float(high[i]) + margin, 1)
        if found is not None and found.action_names == tuple(item.name for item in numbers):
            lower, upper = min(lower, found.action[i].low), max(upper, found.action[i].high)
        bounded.append(robots.ActionNumber(number.name, lower, upper, number.unit, number.used))
    return tuple(bounded)


def _rounded(value: float, direction: int) -> float:
    """``value`` to three digits, away from the middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return float(f"{(math.ceil if direction > 0 else math.floor)(value / step) * step:.10g}")
