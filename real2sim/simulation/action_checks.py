"""Checks of a policy's actions against the robot's action space."""

from __future__ import annotations

from typing import Any

import numpy as np

from real2sim.robot import Robot


def as_numbers(actions: Any, where: str) -> np.ndarray:
    """A policy's answer as a NumPy array; it may be an array, a tensor on any device, or nested lists."""
    detach = getattr(actions, "detach", None)
    if detach is not None:
        actions = detach().cpu()
        actions = (actions.float() if actions.is_floating_point() else actions).numpy()
    try:
        return np.asarray(actions)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: actions are no array of numbers ({type(actions).__name__} of unequal "
            "rows?); expected the same number of values in each row"
        ) from error


def check_actions(
    actions: np.ndarray, robot: Robot, *, policy: str, step: int, lanes: int | None = None
) -> np.ndarray:
    """The same actions as float32 (b K n), once they are known to be finite and inside the robot's bounds.

    ``actions`` are (b K n), or (b n) where K is 1.  Values outside by no more than float32 rounding are set to the
    bound; anything else raises a ValueError that names the policy, the lane and the step.
    """
    found, count, width = (
        as_numbers(actions, f"policy {policy!r}, step {step}"),
        robot.actions_per_frame,
        robot.action_width,
    )
    if count == 1 and found.ndim == 2:
        found = found[:, None]
    if found.ndim != 3 or found.shape[1:] != (count, width) or (lanes is not None and len(found) != lanes):
        first = "lanes" if lanes is None else lanes
        wanted = f"({first}, {width})" if count == 1 else f"({first}, {count}, {width})"
        raise ValueError(
            f"policy {policy!r}, all lanes, step {step}: actions have shape {np.shape(actions)}, expected {wanted}"
        )
    if found.dtype.kind not in "fiu":
        raise ValueError(
            f"policy {policy!r}, step {step}: actions are of type {found.dtype}, expected numbers"
        )
    found = found.astype(np.float32)
    low, high = robot.low, robot.high
    slack = 1e-6 * (high - low)
    # Written so that NaN, for which every comparison is false, counts as outside.
    outside = ~((found >= low - slack) & (found <= high + slack))
    if outside.any():
        lane, place, index = (int(i) for i in np.argwhere(outside)[0])
        which = "" if count == 1 else f", action {place} of {count}"
        raise ValueError(
            f"policy {policy!r}, lane {lane}, step {step}{which}: {robot.action_names[index]} is "
            f"{found[lane, place, index]:g}, allowed is {low[index]:g} to {high[index]:g}"
        )
    return np.clip(found, low, high)
