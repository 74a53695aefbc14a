"""Permutation test of agreement: how often policies paired at random would agree as well.

Rates come as matrices (k t): k units (policies, or training runs), t tasks, missing where a unit was not
measured.  Whole rows are exchanged, so that the many tasks of one policy do not pass for many policies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

EXACT_UP_TO = math.factorial(9)
"""Most orderings that are all counted; beyond, orderings are drawn."""
DRAWN_ORDERINGS = 99_999
MOST_SORTED = 50
"""Units up to which an ordering is drawn by sorting random keys; beyond, shuffling each in turn is faster."""


@dataclass(frozen=True)
class Permutation:
    """How rare the measured agreement is among all ways to pair simulated with real units."""

    p: float
    """Share of orderings that agree at least as well (one-sided); nan where undefined."""
    p_opposite: float
    """Share of orderings that agree no better: small where the order is reversed."""
    floor: float
    """Smallest p that these units can give: 1 over the number of orderings."""
    units: int
    """Units that are exchanged."""
    groups: tuple[int, ...]
    """Their number per group; units are exchanged only with those measured on the same tasks."""
    exact: bool


@lru_cache(maxsize=4)
def _all_orderings(k: int) -> np.ndarray:
    return np.array(list(permutations(range(k))), dtype=np.int16).reshape(-1, k)


@lru_cache(maxsize=4)
def orderings(groups: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """Orderings (p k) of units given as one group number each, the identity first.

    All of them up to ``EXACT_UP_TO``, else a fixed draw.  Units change places inside their group only.
    """
    k = len(groups)
    members = [np.flatnonzero(np.array(groups) == group) for group in dict.fromkeys(groups)]
    total = math.prod(math.factorial(len(group)) for group in members)
    if total <= EXACT_UP_TO:
        order = np.arange(k, dtype=np.int16)[None]
        for group in members:
            inside = group.astype(np.int16)[_all_orderings(len(group))]
            repeated = np.repeat(order, len(inside), axis=0)
            repeated[:, group] = np.tile(inside, (len(order), 1))
            order = repeated
        return order, True
    rng = np.random.default_rng(0)
    drawn = np.tile(np.arange(k, dtype=np.int16), (DRAWN_ORDERINGS + 1, 1))
    for group in members:
        if len(group) > MOST_SORTED:
            drawn[1:, group] = rng.permuted(drawn[1:, group], axis=1)
            continue
        keys = rng.random((DRAWN_ORDERINGS, len(group)), dtype=np.float32)
        drawn[1:, group] = group.astype(np.int16)[keys.argsort(axis=1)]
    return drawn, False


def permutation_test(sim: np.ndarray, real: np.ndarray) -> Permutation:
    """Exact one-sided permutation test of Pearson's r within tasks, rows of (k t) being exchanged.

    Fisher (1935); with drawn orderings p = (1 + hits) / (1 + draws), Phipson & Smyth (2010).  Without missing
    cells this is the test of the pooled r, which is ordered in the same way.  A unit with missing cells is
    exchanged only with units that miss the same ones: others are not alike before anything is measured.
    """
    x, y = (np.asarray(side, float) for side in (sim, real))
    x, y = (side[:, None] if side.ndim == 1 else side for side in (x, y))
    both = ~(np.isnan(x) | np.isnan(y))
    x, y, both = (side[both.any(axis=1)] for side in (x, y, both))
    patterns = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1) if len(x) else np.zeros(0, int)
    sizes = np.bincount(patterns) if len(x) else np.zeros(0, int)
    groups = tuple(sorted((int(size) for size in sizes if size > 1), reverse=True))
    floor = 1 / math.prod(math.factorial(size) for size in groups)
    undefined = Permutation(math.nan, math.nan, floor, sum(groups), groups, True)
    if not groups:
        return undefined
    count = np.maximum(both.sum(axis=0), 1)
    x, y = (np.where(both, side - np.where(both, side, 0).sum(axis=0) / count, 0.0) for side in (x, y))
    gram = x @ y.T
    size = math.sqrt(float((x**2).sum() * (y**2).sum()))
    if size < 1e-12:
        return undefined
    order, exact = orderings(tuple(int(pattern) for pattern in patterns))
    # The centre and the norms do not change when rows are exchanged: r is ordered as this sum is.
    score = np.zeros(len(order))
    for i in range(len(gram)):
        score += gram[i, order[:, i]]
    seen, tolerance = np.trace(gram), 1e-9 * size
    p, opposite = float((score >= seen - tolerance).mean()), float((score <= seen + tolerance).mean())
    return Permutation(p, opposite, floor, sum(groups), groups, exact)


def floor_words(groups: tuple[int, ...]) -> str:
    """“1/10!”, or “1/(10!·3!)” where units are exchanged in groups."""
    factors = "·".join(f"{size}!" for size in groups)
    return f"1/({factors})" if len(groups) > 1 else f"1/{factors or '1!'}"
