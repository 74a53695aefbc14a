"""Agreement of the *true* rates: what r and the mean absolute gap would be with unlimited episodes in both worlds.

Few episodes blur every rate.  That lowers r and widens gaps even if the simulator is perfect.  How much is known
from the binomial distribution, so it can be taken out; the plain numbers stay beside the corrected ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

LEAST_RELIABLE = 0.1
"""Least share of the variance of measured rates that must be true differences for r to be corrected."""

LARGEST = 2.0
"""Root mean square of true gaps beyond which none is looked for."""


@dataclass(frozen=True)
class Noise:
    """Variances of measured rates (n,) on both sides, and their covariance where starts are shared."""

    sim: np.ndarray
    real: np.ndarray
    shared: np.ndarray


def binomial_noise(
    sim: tuple[np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray], shared: np.ndarray | None = None
) -> Noise | None:
    """Unbiased variances rate (1 - rate) / (n - 1) of both sides, each given as (rate, episodes).

    None if a count is missing or 1.  ``shared`` is the covariance of the two rates (`shared_noise`), 0 if None.
    """
    sides = []
    for rate, episodes in (sim, real):
        n = np.asarray(episodes, float)
        if len(n) == 0 or np.isnan(n).any() or (n <= 1).any():
            return None
        sides.append(np.asarray(rate, float) * (1 - np.asarray(rate, float)) / (n - 1))
    covariance = np.zeros(len(sides[0])) if shared is None else np.nan_to_num(np.asarray(shared, float))
    return Noise(sides[0], sides[1], covariance)


def shared_part(noise: Noise | None) -> float:
    """Correlation of the noise of both worlds over all points; 0 where it is not known."""
    both = 0.0 if noise is None else float(np.sqrt(noise.sim * noise.real).sum())
    return float(noise.shared.sum()) / both if noise is not None and both > 0 else 0.0


def true_correlation(
    sim: np.ndarray, real: np.ndarray, noise: Noise, plain: tuple[float, float, float]
) -> tuple[float, float, float] | None:
    """Pearson's r of the true rates with its interval, from ``plain`` = (r, low, high) of the measured ones.

    r_true = (cov - c) / sqrt((var_sim - v_sim) (var_real - v_real)) with the mean noise variances v and their
    covariance c: the correction for attenuation (Spearman 1904).  Both ends of the interval are corrected like
    r; the uncertainty of v is small beside that of r.  At most 1 and at least -1.  None where less than
    ``LEAST_RELIABLE`` of a side's variance is more than noise.
    """
    n = len(sim)
    var_sim, var_real = float(np.var(sim)), float(np.var(real))
    if n < 3 or min(var_sim, var_real) <= 0:
        return None
    # Means over points are taken from both sides, which costs the n-th part of the noise.
    scale = (n - 1) / n
    reliable = [
        1 - scale * float(v.mean()) / var for v, var in ((noise.sim, var_sim), (noise.real, var_real))
    ]
    if min(reliable) < LEAST_RELIABLE:
        return None
    shift = scale * float(noise.shared.mean()) / math.sqrt(var_sim * var_real)
    root = math.sqrt(reliable[0] * reliable[1])
    value, low, high = (min(max((end - shift) / root, -1.0), 1.0) for end in plain)
    return value, low, high


def folded_mean(mean: np.ndarray | float, variance: np.ndarray | float) -> np.ndarray:
    """Mean of |x| for normal x (Leone, Nelson & Nottingham 1961)."""
    deviation = np.sqrt(np.maximum(variance, 1e-18))
    ratio = np.abs(mean) / deviation
    flat = special.erf(ratio / math.sqrt(2))
    return deviation * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + np.abs(mean) * flat


def true_gap(gaps: np.ndarray, noise: Noise, plain: tuple[float, float, float]) -> tuple[float, float, float]:
    """Mean absolute gap of the true rates with its interval, from ``plain`` = (mean, low, high) of the measured.

    True gaps are taken as normal with the mean and variance that the measured ones leave after the noise is taken
    out; each end of the interval is the size of true gap that noise would stretch to the measured end, 0 where
    noise alone would reach it, nan for an end that is nan.  ``gaps`` and all results are rates, not points.
    """
    variance = np.maximum(noise.sim + noise.real - 2 * noise.shared, 0.0)
    square = float(np.mean(gaps**2 - variance))
    mean = abs(float(gaps.mean()))
    # The shape of the gaps: mean and variance for a root mean square of 1.
    centre = min(mean / math.sqrt(square), 1.0) if square > 1e-9 else 0.0
    spread = 1 - centre**2

    def blurred(size: float) -> float:
        return float(np.mean(folded_mean(size * centre, size**2 * spread + variance)))

    def clean(end: float) -> float:
        if math.isnan(end):
            return math.nan
        if end <= blurred(0.0):
            return 0.0
        if end >= blurred(LARGEST):
            return 1.0
        size = float(optimize.brentq(lambda size: blurred(size) - end, 0.0, LARGEST, xtol=1e-14))
        return min(float(folded_mean(size * centre, size**2 * spread)), 1.0)

    value, low, high = (clean(end) for end in plain)
    return value, low, high
