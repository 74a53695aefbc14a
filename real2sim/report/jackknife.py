"""Intervals over training runs: how a measure changes when one run at a time is left out.

Checkpoints of a run and its tasks stand and fall together, so whole training runs are left out.  The intervals
ask what other training runs like these would show; their coverage is measured in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

FEWEST_RUNS = 4
"""Fewest training runs for an interval of Pearson's r."""
FEWEST_RUNS_FOR_RANKS = 8
"""Fewest for rank correlations, which take too few values with fewer runs."""

Measured = Callable[[np.ndarray, np.ndarray], float]


def leave_one_out(function: Measured, sim: np.ndarray, real: np.ndarray, families: np.ndarray) -> np.ndarray:
    """``function`` of all points but those of one training run, for each run (f,)."""
    return np.array([function(sim[keep], real[keep]) for keep in kept(families)])


def kept(families: np.ndarray) -> list[np.ndarray]:
    """For each training run, which points belong to the others."""
    return [families != family for family in dict.fromkeys(families.tolist())]


def correlation_interval(value: float, without: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval of a correlation from its values with one training run left out (f,); (nan, nan) if undefined.

    tanh(z ± t·e) with z = atanh(value), the jackknife's standard error e² = (f-1)/f · Σ (z_i - mean z)²
    (Tukey 1958; Efron & Stein 1981) and Student's t with f - 1 degrees of freedom.  It knows neither a normal
    distribution nor how runs, tasks and trials share the noise.  Undefined where a correlation is 1 or -1, or
    does not exist, with one run left out.
    """
    f = len(without)
    if f < 3 or math.isnan(value) or np.isnan(without).any():
        return math.nan, math.nan
    if max(abs(value), float(np.abs(without).max())) > 1 - 1e-9:
        return math.nan, math.nan
    z = np.arctanh(without)
    half = t_quantile(f, level) * math.sqrt((f - 1) / f * float(((z - z.mean()) ** 2).sum()))
    return math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)


def cluster_t_interval(values: np.ndarray, clusters: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of ``values`` when only whole clusters are independent; (nan, nan) below three.

    Student's t with (clusters - 1) degrees of freedom and the cluster-robust standard error
    sqrt(f / (f-1) * sum_c (sum_{i in c} (x_i - mean))^2) / n (Liang & Zeger 1986).
    """
    names, index = np.unique(clusters, return_inverse=True)
    if len(names) < 3:
        return math.nan, math.nan
    mean = float(values.mean())
    sums = np.bincount(index, weights=values - mean)
    error = math.sqrt(len(names) / (len(names) - 1) * float((sums**2).sum())) / len(values)
    half = t_quantile(len(names), level) * error
    return mean - half, mean + half


def size_interval(sizes: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """``cluster_t_interval`` on the logarithmic scale, for the mean of sizes (never negative, skewed).

    mean * exp(± t * error / mean), by the delta method; at most 100 points.
    """
    low, high = cluster_t_interval(sizes, clusters)
    mean = float(sizes.mean())
    if mean == 0 or math.isnan(low):
        return low, high
    stretch = math.exp(min((high - mean) / mean, 50.0))
    return mean / stretch, min(mean * stretch, 100.0)


def t_quantile(runs: int, level: float = 0.95) -> float:
    """Student's t with one degree of freedom less than there are training runs."""
    return float(stats.t.ppf(0.5 + level / 2, runs - 1))
