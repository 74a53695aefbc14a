"""What a perfect simulator would score, given how few trials there were: the ceiling of any agreement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from real2sim.report.rank_violation import largest_violations


@dataclass(frozen=True)
class NoiseCeiling:
    """Median and 95 % range of r, MMRV and mean absolute error of a simulator without any error."""

    pearson: float
    pearson_low: float
    pearson_high: float
    mmrv: float
    mmrv_low: float
    mmrv_high: float
    mae_points: float
    mae_low: float
    mae_high: float
    mmrv_within_high: float
    """Upper end for MMRV within tasks."""
    simulated_noise: bool
    """True: the perfect simulator ran as many episodes as ours; False: unlimited ones."""


def noise_ceiling(
    real_successes: np.ndarray,
    real_episodes: np.ndarray,
    sim_episodes: np.ndarray | None = None,
    draws: int = 2000,
    seed: int = 0,
    tasks: np.ndarray | None = None,
) -> NoiseCeiling | None:
    """The scores of a perfect simulator, or None if a count is missing or there are fewer than two points.

    True rates are drawn from their posterior (Beta, Jeffreys' prior), real trials are drawn again from those
    rates, and the simulator knows the rates exactly (``sim_episodes`` None) or measures them by as many
    episodes of its own.  Simulated and real episodes are drawn independently; where both start from the same
    frames a perfect simulator can do better than this.  ``tasks`` says which points belong to one task.
    """
    k, n = np.asarray(real_successes, float), np.asarray(real_episodes, float)
    if len(k) < 2 or np.isnan(k).any() or np.isnan(n).any():
        return None
    if sim_episodes is not None and np.isnan(np.asarray(sim_episodes, float)).any():
        return None
    rng = np.random.default_rng(seed)
    truth = rng.beta(k + 0.5, n - k + 0.5, size=(draws, len(k)))
    real = rng.binomial(n.astype(int), truth) / n
    sim = truth
    if sim_episodes is not None:
        m = np.asarray(sim_episodes, float)
        sim = rng.binomial(m.astype(int), truth) / m
    x, y = sim - sim.mean(1, keepdims=True), real - real.mean(1, keepdims=True)
    norm = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    r = np.divide((x * y).sum(1), norm, out=np.full(draws, np.nan), where=norm > 0)
    r = r[~np.isnan(r)]
    violation = largest_violations(sim, real).mean(1)
    within = violation if tasks is None else largest_violations(sim, real, tasks).mean(1)
    error = 100 * np.abs(sim - real).mean(1)

    def three(values: np.ndarray) -> tuple[float, float, float]:
        if len(values) == 0:
            return math.nan, math.nan, math.nan
        low, mid, high = np.quantile(values, [0.025, 0.5, 0.975])
        return float(mid), float(low), float(high)

    high = float(np.quantile(within, 0.975))
    return NoiseCeiling(*three(r), *three(violation), *three(error), high, sim_episodes is not None)
