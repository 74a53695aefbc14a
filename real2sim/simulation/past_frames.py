"""Frames before a suite's starts, from which world models also begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from real2sim.robot import Robot

if TYPE_CHECKING:
    from real2sim.simulation.suite import Start


def past_frames(
    arrays: Mapping[str, np.ndarray], task: str, count: int, robot: Robot, path: Path
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Frames (starts p h w 3) before the starts of a task and actions between them; None where there are none."""
    past = arrays.get(f"{task}/past")
    actions = arrays.get(f"{task}/past_actions")
    if past is None and actions is None:
        return None, None
    if past is None or actions is None:
        has, lacks = ("past", "past_actions") if actions is None else ("past_actions", "past")
        raise ValueError(f"{path} has {task}/{has} without {task}/{lacks}; expected both, or neither")
    number = past.shape[1] if past.ndim == 5 else 0
    if past.dtype != np.uint8 or past.shape != (count, number, *robot.canvas_size, 3) or number < 1:
        raise ValueError(
            f"{path}: {task}/past is {past.dtype} {past.shape}, expected uint8 ({count}, p, "
            f"{robot.canvas_size[0]}, {robot.canvas_size[1]}, 3)"
        )
    per_frame = (robot.actions_per_frame, robot.action_width)[robot.actions_per_frame == 1 :]
    if actions.shape != (count, number, *per_frame) or not np.isfinite(actions).all():
        raise ValueError(
            f"{path}: {task}/past_actions has shape {actions.shape}, expected finite numbers "
            f"{(count, number, *per_frame)}: what led from each past frame to the next"
        )
    return past, actions.astype(np.float32)


def past_arrays(task: str, starts: Sequence[Start]) -> dict[str, np.ndarray]:
    """The arrays of starts that all have past frames, as `past_frames` reads them; none otherwise."""
    if any(start.past is None or start.past_actions is None for start in starts):
        return {}
    return {
        f"{task}/past": np.stack([start.past for start in starts if start.past is not None]),
        f"{task}/past_actions": np.stack(
            [start.past_actions for start in starts if start.past_actions is not None]
        ),
    }
