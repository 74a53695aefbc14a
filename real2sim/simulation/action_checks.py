"""Checks of a policy's actions against the robot's action space."""

from __future__ import annotations

from typing import Any

import numpy as np

from real2sim.robot import Robot


def as_numbers(actions: Any, where: str, what: str = "actions") -> np.ndarray:
    """A policy's answer as a NumPy array; it may be an array, a tensor on any device, or nested lists."""
    rows = actions if isinstance(actions, list | tuple) else [actions]
    masked = sum(int(np.ma.count_masked(row)) for row in rows if isinstance(row, np.ma.MaskedArray))
    if masked:
        raise ValueError(f"{where}: {masked} numbers of the {what} are masked; expected all of them")
    detach = getattr(actions, "detach", None)
    try:
        if callable(detach):
            actions = detach().cpu()
            actions = (actions.float() if actions.is_floating_point() else actions).numpy()
        return np.asarray(actions)
    except MemoryError as error:
        raise MemoryError(f"{where}: actions cannot be read: {error}") from error
    except Exception as error:
        # What a policy gives may run code of its own when it is read.
        if callable(detach):
            raise ValueError(
                f"{where}: {what} are a tensor without plain numbers ({' '.join(str(error).split())[:100]}); answer "
                "with a dense one"
            ) from error
        if not isinstance(error, ValueError):
            raise ValueError(
                f"{where}: {what} are no array of numbers (a {type(actions).__name__} that fails with "
                f"{type(error).__name__}: {' '.join(str(error).split())[:100]}); answer with an array"
            ) from error
        raise ValueError(
            f"{where}: {what} are no array of numbers ({type(actions).__name__} of unequal "
            "rows?); expected the same number of values in each row"
        ) from error


def check_shape(actions: Any, where: str, *shapes: tuple[int, ...]) -> np.ndarray:
    """Actions as an array of numbers; ValueError unless it has one of the shapes."""
    found = as_numbers(actions, where)
    if found.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{where}: actions {_described(actions, found)}, expected {wanted}")
    _check_type(found, where)
    return found


def check_finite_numbers(found: np.ndarray, where: str) -> np.ndarray:
    """Actions as float32; ValueError unless all are finite numbers."""
    _check_type(found, where)
    with np.errstate(over="ignore"):
        found = found.astype(np.float32)
    if not np.isfinite(found).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        raise ValueError(
            f"{where}: number {place} of the actions is {found[place]:g}, expected finite numbers"
        )
    return found


def _check_type(found: np.ndarray, where: str) -> None:
    if found.dtype.kind not in "fiu":
        raise ValueError(f"{where}: actions are of type {found.dtype}, expected numbers")


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
            f"policy {policy!r}, all lanes, step {step}: actions {_described(actions, found)}, expected {wanted}"
        )
    _check_type(found, f"policy {policy!r}, step {step}")
    found = found.astype(np.float32)
    low, high = robot.low, robot.high
    outside = _outside(found, low, high)
    if outside.any():
        lane, place, index = (int(i) for i in np.argwhere(outside)[0])
        which = "" if count == 1 else f", action {place} of {count}"
        raise ValueError(
            f"policy {policy!r}, lane {lane}, step {step}{which}: {robot.action_names[index]} is "
            f"{found[lane, place, index]:g}, allowed is {low[index]:g} to {high[index]:g}"
        )
    found = np.clip(found, low, high)
    if robot.binary.any():
        _check_binary(found, robot, f"policy {policy!r}", step)
    return found


def _outside(found: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which numbers are outside their bounds by more than float32 rounding, bool (... n)."""
    slack = 1e-6 * (high - low)
    # Written so that NaN, for which every comparison is false, counts as outside.
    outside: np.ndarray = ~((found >= low - slack) & (found <= high + slack))
    return outside


def _described(actions: Any, found: np.ndarray) -> str:
    """What a policy answered instead of an array of the right shape."""
    if not found.ndim and found.dtype.kind not in "fiub":
        answer = actions.item() if isinstance(actions, np.ndarray) else actions
        return f"are of type {type(answer).__name__}"
    return f"have shape {np.shape(actions)}"


def without_ending(actions: Any, robot: Robot) -> np.ndarray:
    """Actions (... n) whose numbers that may end the episode are replaced by some that go on.

    The second place of a one-hot choice goes on (RT-1's moves the arm); a single number ends above 0.5.  Actions of
    another width or type, and numbers outside their bounds, are left to `check_actions`.
    """
    found = np.array(as_numbers(actions, "step"))
    if robot.terminate is None or not found.ndim or found.shape[-1] != robot.action_width:
        return found
    if found.dtype.kind not in "fiu":
        return found
    places = [robot.action_names.index(name) for name in robot.terminate]
    goes_on = np.eye(len(places), dtype=np.float32)[1] if len(places) > 1 else np.zeros(1, np.float32)
    low, high = robot.low[places], robot.high[places]
    # float64, since whole numbers of a policy may not hold what goes on.
    found = found.astype(np.float64)
    found[..., places] = np.where(
        _outside(found[..., places], low, high), found[..., places], np.clip(goes_on, low, high)
    )
    return found


def _check_binary(actions: np.ndarray, robot: Robot, who: str, step: int) -> None:
    """Raise a ValueError unless binary numbers of actions (b K n) are 0 or 1 and one-hot groups hold one 1."""
    wrong = robot.binary & (actions != 0) & (actions != 1)
    if wrong.any():
        lane, place, index = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{who}, lane {lane}, step {step}: {robot.action_names[index]} is {actions[lane, place, index]:g}, "
            "expected 0 or 1"
        )
    for places in robot.one_hot_places:
        chosen = actions[..., places].sum(axis=-1)
        if (chosen != 1).any():
            lane, place = (int(i) for i in np.argwhere(chosen != 1)[0])
            raise ValueError(
                f"{who}, lane {lane}, step {step}: {chosen[lane, place]:g} of {robot.action_names[places[0]]} … "
                f"{robot.action_names[places[-1]]} are 1, expected exactly one"
            )
