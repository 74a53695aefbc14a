"""Correlation of simulated with real rates, and how much a few policies can prove.

Rates come as matrices (k t): k policies (or families of checkpoints), t tasks.  A vector (k,) is one task.
An undefined value is ``nan`` here; the page says in words why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from scipy import stats

EXACT_UP_TO = 9
"""Most policies whose orderings are all counted (9! = 362 880); beyond, orderings are drawn."""
DRAWN_ORDERINGS = 99_999
BOOTSTRAP_FROM = 6
"""Fewest independent policies for a bootstrap interval: with five, a third of the resamples hold three or
fewer distinct policies."""


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


def fisher_z_interval(
    r: float, independent: int, level: float = 0.95, kind: str = "pearson"
) -> tuple[float, float]:
    """Interval for a correlation over n = ``independent`` units: tanh(atanh r ± z * error).

    error² is 1 / (n - 3) for Pearson (Fisher 1921), (1 + r²/2) / (n - 3) for Spearman (Bonett & Wright 2000) and
    0.437 / (n - 4) for Kendall (Fieller, Hartley & Pearson 1957).  (nan, nan) for fewer than four units (Kendall:
    five), and for |r| = 1, where there is no width.
    """
    if independent < (5 if kind == "kendall" else 4) or math.isnan(r) or abs(r) > 1 - 1e-9:
        return math.nan, math.nan
    squares = {
        "pearson": 1 / (independent - 3),
        "spearman": (1 + r * r / 2) / (independent - 3),
        "kendall": 0.437 / max(independent - 4, 1),
    }
    half = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt(squares[kind])
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


@dataclass(frozen=True)
class Permutation:
    """How rare the measured agreement is among all ways to pair simulated with real policies."""

    p: float
    """Share of orderings that agree at least as well (one-sided); nan where undefined."""
    floor: float
    """Smallest p that this number of units can give: 1 / k!."""
    units: int
    exact: bool


@lru_cache(maxsize=4)
def _orderings(k: int) -> np.ndarray:
    return np.array(list(permutations(range(k))), dtype=np.int8)


def orderings(k: int) -> tuple[np.ndarray, bool]:
    """Orderings (p k) of k units, the identity first; all up to ``EXACT_UP_TO``, else a fixed draw."""
    if k <= EXACT_UP_TO:
        return _orderings(k), True
    keys = np.random.default_rng(0).random((DRAWN_ORDERINGS, k))
    return np.vstack([np.arange(k), keys.argsort(axis=1)]), False


def permutation_test(sim: np.ndarray, real: np.ndarray) -> Permutation:
    """Exact one-sided permutation test of Pearson's r, whole policies (rows of (k t)) being exchanged.

    Exchanging rows keeps the tasks of one policy together, so that many tasks do not pass for many policies.
    Fisher (1935); with drawn orderings p = (1 + hits) / (1 + draws), Phipson & Smyth (2010).
    """
    x, y = np.atleast_2d(np.asarray(sim, float).T).T, np.atleast_2d(np.asarray(real, float).T).T
    k = len(x)
    floor = 1 / math.factorial(k)
    if k < 2 or math.isnan(pearson(x, y)):
        return Permutation(math.nan, floor, k, True)
    gram = (x - x.mean()) @ (y - y.mean()).T
    order, exact = orderings(k)
    # The centre and the norms do not change when rows are exchanged: r is ordered as this sum is.
    score = np.zeros(len(order))
    for i in range(k):
        score += gram[i, order[:, i]]
    tolerance = 1e-9 * max(np.abs(gram).sum(), 1e-300)
    return Permutation(float((score >= np.trace(gram) - tolerance).mean()), floor, k, exact)


def bootstrap_interval(
    sim: np.ndarray, real: np.ndarray, families: np.ndarray, level: float = 0.95, draws: int = 4000
) -> tuple[float, float]:
    """Expanded percentile interval of Pearson's r, whole families of policies being drawn again.

    The plain percentile interval is too short for few families (it held 0.85 of 0.95 with eight), so the tail
    is that of Student's t widened by sqrt(f / (f - 1)): Hesterberg (2015), section 3.3.  (nan, nan) below
    ``BOOTSTRAP_FROM`` families: unsupported.
    """
    x, y = np.atleast_2d(np.asarray(sim, float).T).T, np.atleast_2d(np.asarray(real, float).T).T
    names, index = np.unique(families, return_inverse=True)
    if len(names) < BOOTSTRAP_FROM or math.isnan(pearson(x, y)):
        return math.nan, math.nan
    # Sums per family suffice for r, so a resample is a sum of family sums.
    parts = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y]).sum(axis=2)
    sums = np.zeros((6, len(names)))
    for part, total in zip(parts, sums, strict=True):
        np.add.at(total, index, part)
    chosen = np.random.default_rng(0).integers(len(names), size=(draws, len(names)))
    n, sx, sy, sxx, syy, sxy = sums[:, chosen].sum(axis=2)
    vx, vy = sxx - sx * sx / n, syy - sy * sy / n
    ok = (vx > 1e-12) & (vy > 1e-12)
    r = (sxy - sx * sy / n)[ok] / np.sqrt(vx[ok] * vy[ok])
    f = len(names)
    tail = stats.norm.cdf(math.sqrt(f / (f - 1)) * stats.t.ppf(0.5 - level / 2, f - 1))
    low, high = np.quantile(r, [tail, 1 - tail])
    return float(max(low, -1.0)), float(min(high, 1.0))
