"""Bounds of action numbers from what was recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from real2sim.robot import ActionNumber, Robot

MARGIN = 0.1
"""Share of the recorded range by which the bounds of an action number go beyond it on either side."""
LARGEST = 1e9
"""No joint, tool or base is commanded beyond this, in whatever unit; such numbers mark what is missing."""


def action_bounds(
    numbers: Sequence[ActionNumber],
    low: np.ndarray,
    high: np.ndarray,
    found: Robot | None = None,
    where: str = "the recordings",
) -> tuple[ActionNumber, ...]:
    """The numbers with bounds around what was recorded, ``low`` to ``high`` (n,), and around those of ``found``.

    They go beyond the recorded range by a tenth of it, so that a policy may command a little more than was shown.
    Raises ValueError for a range that no robot has.
    """
    bounded = []
    for i, number in enumerate(numbers):
        if not max(abs(float(low[i])), abs(float(high[i]))) < LARGEST:
            raise ValueError(
                f"{where}: the recorded actions' {number.name!r} goes from {float(low[i]):g} to {float(high[i]):g}, "
                f"expected numbers of less than {LARGEST:g}; leave out the episodes in which something else stands "
                "there"
            )
        margin = MARGIN * float(high[i] - low[i]) or 1.0
        lower, upper = _rounded(float(low[i]) - margin, -1), _rounded(float(high[i]) + margin, 1)
        if found is not None and found.action_names == tuple(item.name for item in numbers):
            lower, upper = min(lower, found.action[i].low), max(upper, found.action[i].high)
        bounded.append(ActionNumber(number.name, lower, upper, number.unit, number.used))
    return tuple(bounded)


def beyond_bounds(numbers: Sequence[ActionNumber], low: np.ndarray, high: np.ndarray) -> str | None:
    """The first number that was recorded, from ``low`` to ``high`` (n,), beyond its bounds by more than a tenth of
    their range, in words; None without one."""
    for number, least, most in zip(numbers, low.tolist(), high.tolist(), strict=True):
        margin = MARGIN * (number.high - number.low)
        if least < number.low - margin or most > number.high + margin:
            return (
                f"the recorded actions' {number.name!r} goes from {least:g} to {most:g}, the robot's from "
                f"{number.low:g} to {number.high:g}"
            )
    return None


def _rounded(value: float, direction: int) -> float:
    """``value`` to three digits, away from the middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return float(f"{(math.ceil if direction > 0 else math.floor)(value / step) * step:.10g}")
