"""Correlations of simulated with real rates.

An undefined value is ``nan`` here; the page says in words why.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def pearson(sim: np.ndarray, real: np.ndarray) -> float:
    """Pearson's r; nan if there are fewer than two points or one side does not vary."""
    x, y = np.ravel(sim).astype(float), np.ravel(real).astype(float)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    r = float(x @ y / norm) if norm > 0 else math.nan
    # Rounding must not hide that all points lie on one line.
    return math.copysign(1.0, r) if abs(r) > 1 - 1e-12 else r


def simpler_pearson(sim: np.ndarray, real: np.ndarray) -> float:
    """Pearson's r as SIMPLER prints it (Li et al. 2024, simpler_env/utils/metrics.py).

    1 when the centred vectors are equal, 0 when one side is constant, and 1e-8 added to the denominator.
    Kept apart from ``pearson`` so that published tables can be reproduced to the last digit.
    """
    x, y = np.ravel(sim).astype(float), np.ravel(real).astype(float)
    x, y = x - x.mean(), y - y.mean()
    if np.all(x == y):
        return 1.0
    if np.all(x == 0) or np.all(y == 0):
        return 0.0
    return float(x @ y / (np.sqrt(np.sum(x**2) * np.sum(y**2)) + 1e-8))


def spearman(sim: np.ndarray, real: np.ndarray) -> float:
    """Spearman's rank correlation: Pearson's r of the mid-ranks."""
    return pearson(stats.rankdata(np.ravel(sim)), stats.rankdata(np.ravel(real)))


def kendall(sim: np.ndarray, real: np.ndarray) -> float:
    """Kendall's tau-b (ties on either side are taken out of the pairs that count)."""
    x, y = np.ravel(sim).astype(float), np.ravel(real).astype(float)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(stats.kendalltau(x, y, variant="b").statistic)
