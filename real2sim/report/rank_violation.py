"""Mean maximum rank violation (MMRV): how badly a simulator misorders policies, in real success rate.

Li et al. 2024 (SIMPLER), eq. 1-2.  Rows are policies and a violation weighs as much as the *real* rates
differ, so that confusing two policies that are equally good costs nothing.  The paper prints
|r_i - r_j| · 1[(s_i < s_j) ≠ (r_i < r_j)], SIMPLER's code compares with ``>``.  The two differ where policies are
tied on one side only: the violation then belongs to the one that is higher on the other side (code, the rule
used here) or to the lower one (paper), and the mean over policies of the largest violation can change.
The order of the arguments matters: SIMPLER's tool passes (sim, real) as here, its README (real, sim), which
weighs violations in simulated rates and gives another number.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from real2sim.report.joint_rates import draw_angles
from real2sim.report.rates import wilson


def largest_violations(sim: np.ndarray, real: np.ndarray, tasks: np.ndarray | None = None) -> np.ndarray:
    """Largest violation |real_i - real_j| that each point takes part in (..., n), from rates (..., n).

    Point i disagrees with j where (sim_i > sim_j) != (real_i > real_j).  After sorting by simulated rate these are,
    for i, the highest real rate among lower simulated ones and the lowest among the others: n log n steps instead
    of n².  With ``tasks``, only points of one task are compared: a hard task is not ranked against an easy one.
    """
    shape = np.broadcast_shapes(np.shape(sim), np.shape(real))
    sim, real = np.broadcast_to(sim, shape), np.broadcast_to(real, shape)
    if tasks is None:
        return _violations(sim, real)
    out = np.empty(shape)
    for task in dict.fromkeys(np.asarray(tasks).tolist()):
        here = np.asarray(tasks) == task
        out[..., here] = _violations(sim[..., here], real[..., here])
    return out


def _violations(sim: np.ndarray, real: np.ndarray) -> np.ndarray:
    order = np.argsort(sim, axis=-1, kind="stable")
    s, r = np.take_along_axis(sim, order, -1), np.take_along_axis(real, order, -1)
    place = np.broadcast_to(np.arange(s.shape[-1]), s.shape)
    new = np.ones(s.shape, bool)
    new[..., 1:] = s[..., 1:] != s[..., :-1]
    # Points tied in simulation begin at the same place: those before are lower, those from there on are not.
    begin = np.maximum.accumulate(np.where(new, place, 0), axis=-1)
    highest = np.maximum.accumulate(r, axis=-1)
    lowest = np.minimum.accumulate(r[..., ::-1], axis=-1)[..., ::-1]
    before = np.take_along_axis(highest, np.maximum(begin - 1, 0), -1)
    above = np.where(begin > 0, before - r, 0.0)
    below = r - np.take_along_axis(lowest, begin, -1)
    out = np.empty(s.shape)
    np.put_along_axis(out, order, np.maximum(np.maximum(above, below), 0.0), -1)
    return out


def mmrv(
    sim: np.ndarray,
    real: np.ndarray,
    tasks: np.ndarray | None = None,
    ties: Literal["higher", "lower"] = "higher",
) -> float:
    """Mean over points of the largest violation each takes part in; 0 is a perfect order.

    With ``tasks``, only points of one task are compared: a hard task is not ranked against an easy one.  Of two
    policies tied on one side only, the violation counts for the one that is ``higher`` on the other side (``>``,
    SIMPLER's code) or ``lower`` (``<``, the paper's formula).
    """
    x, y = np.ravel(sim).astype(float), np.ravel(real).astype(float)
    if len(x) == 0:
        return math.nan
    # Turned round, "higher" is "lower".
    x, y = (x, y) if ties == "higher" else (-x, -y)
    return float(largest_violations(x, y, tasks).mean())


def mmrv_interval(
    sim: tuple[np.ndarray, np.ndarray],
    real: tuple[np.ndarray, np.ndarray],
    level: float = 0.95,
    draws: int = 2000,
    tasks: np.ndarray | None = None,
    shared: float = 0.0,
) -> tuple[float, float]:
    """Interval for the MMRV that unlimited episodes of these same policies would show.

    Each side is (successes, episodes).  The upper end is the (1+level)/2 quantile of MMRV over posterior draws of both
    rates of each policy together (`real2sim.report.joint_rates`; ``shared`` is the correlation of the noise of both
    worlds), and at least the measured MMRV: where a policy or two lie far from the line of the others, or simulation
    turns the order round, the normal distribution shrinks too much of that away.
    The lower end counts only violations that hold wherever the rates lie inside simultaneous Wilson intervals
    (Šidák over both sides); the plain lower quantile would exclude 0 even for a perfect simulator.
    (nan, nan) if a count is missing.
    """
    counts = [np.asarray(c, float) for c in (*sim, *real)]
    if len(counts[0]) < 2 or any(np.isnan(c).any() or (c is None) for c in counts):
        return math.nan, math.nan
    sim_k, sim_n, real_k, real_n = counts
    rng = np.random.default_rng(0)
    n = len(sim_k)
    groups = np.zeros(n, int) if tasks is None else np.asarray(tasks)
    total = np.zeros(draws)
    for group in dict.fromkeys(groups.tolist()):
        here = groups == group
        sides = (sim_k[here], sim_n[here]), (real_k[here], real_n[here])
        y, x = draw_angles(*sides, draws, rng, shared)
        # Ordered by the angle, so that rates at 0 or 1 are no ties; weighed by the rate.
        total += largest_violations(y, np.sin(np.clip(x, 0, math.pi / 2)) ** 2).sum(axis=1)
    high = max(float(np.quantile(total / n, 0.5 + level / 2)), mmrv(sim_k / sim_n, real_k / real_n, tasks))

    each = level ** (1 / (2 * n))
    sim_low, sim_high = wilson(sim_k, sim_n, each)
    real_low, real_high = wilson(real_k, real_n, each)
    sim_above = sim_low[:, None] > sim_high[None, :]
    real_above = real_low[:, None] > real_high[None, :]
    compared = True if tasks is None else np.asarray(tasks)[:, None] == np.asarray(tasks)[None, :]
    certain = compared & ((sim_above & real_above.T) | (sim_above.T & real_above))
    least = np.maximum(real_low[:, None] - real_high[None, :], real_low[None, :] - real_high[:, None])
    low = float(np.where(certain, np.maximum(least, 0), 0.0).max(axis=1).mean())
    return low, max(high, low)
