"""Stopping early without fooling oneself, and how many episodes a difference takes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from real2sim.report.paired_tests import mcnemar_exact

MOST_EPISODES = 1_000_000


def evidence(only_first: np.ndarray, only_second: np.ndarray) -> np.ndarray:
    """Evidence (e-value) that two policies differ, after each number of one-sided starts.

    ``only_first`` and ``only_second`` count the starts so far where just one of them succeeded.  Under equal
    skill these are fair coin tosses; the e-value is the likelihood under an unknown coin, drawn uniformly,
    over that of a fair one: B(1+b, 1+c) 2^(b+c).  It is a martingale with mean 1, so by Ville's inequality
    the chance that it *ever* reaches 1/alpha is at most alpha, however often one looks (Ville 1939; Robbins
    1970).
    """
    b, c = np.asarray(only_first, float), np.asarray(only_second, float)
    with np.errstate(over="ignore"):
        return np.exp(special.betaln(1 + b, 1 + c) + (b + c) * math.log(2))


def sequential_test(first: np.ndarray, second: np.ndarray, alpha: float = 0.05) -> int | None:
    """Starts after which two policies were separated for the first time; None if they never were.

    ``first`` and ``second`` are outcomes (0/1) on the same starts in the order they were run.  Valid at any
    stopping time: run episodes until this is not None, or until patience ends.
    """
    a, b = np.asarray(first) == 1, np.asarray(second) == 1
    values = evidence(np.cumsum(a & ~b), np.cumsum(b & ~a))
    reached = np.flatnonzero(values >= 1 / alpha)
    return int(reached[0]) + 1 if len(reached) else None


def confidence_sequence(
    successes: np.ndarray, episodes: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a success rate that hold at all times at once, after each (successes, episodes).

    All p whose likelihood is within a factor 1/alpha of the uniform mixture's (Robbins 1970).
    """
    k, n = np.atleast_1d(np.asarray(successes, float)), np.atleast_1d(np.asarray(episodes, float))
    mixture = special.betaln(1 + k, 1 + n - k)

    def excess(p: float, i: int) -> float:
        return float(
            mixture[i] - special.xlogy(k[i], p) - special.xlog1py(n[i] - k[i], -p) + math.log(1 - level)
        )

    low, high = np.zeros(len(k)), np.ones(len(k))
    for i in range(len(k)):
        if n[i] == 0:
            continue
        peak = k[i] / n[i]
        if peak > 0 and excess(1e-12, i) > 0:
            low[i] = optimize.brentq(excess, 1e-12, peak, args=(i,))
        if peak < 1 and excess(1 - 1e-12, i) > 0:
            high[i] = optimize.brentq(excess, peak, 1 - 1e-12, args=(i,))
    return low, high


def in_turns(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Outcomes of each start's first repetition (``outcome_table``), tasks taking turns."""
    first = outcomes[outcomes.index.get_level_values("repetition") == 0]
    turn = first.groupby(level="task", sort=False).cumcount().to_numpy()
    return first.iloc[np.argsort(turn, kind="stable")]


def first_separated(outcomes: pd.DataFrame, first: str, second: str, alpha: float = 0.05) -> int | None:
    """``sequential_test`` on the shared starts of two policies, in the order of ``outcomes`` (`in_turns`)."""
    a, b = outcomes[first].to_numpy(float), outcomes[second].to_numpy(float)
    both = ~(np.isnan(a) | np.isnan(b))
    return sequential_test(a[both], b[both], alpha)


def mcnemar_power(starts: int, difference: float, discordance: float, alpha: float = 0.05) -> float:
    """Chance that the exact paired test finds a difference on so many starts."""
    spread = 6 * math.sqrt(starts * discordance * (1 - discordance)) + 6
    low = max(0, int(starts * discordance - spread))
    m = np.arange(low, min(starts, int(starts * discordance + spread)) + 1)
    # The largest minority c that still rejects, per number m of one-sided starts.
    c = stats.binom.ppf(alpha / 2, m, 0.5).astype(int)
    c = np.where(mcnemar_exact(c, m - c) <= alpha, c, c - 1)
    ahead = min(1.0, (discordance + abs(difference)) / (2 * discordance))
    rejects = stats.binom.cdf(c, m, ahead) + stats.binom.sf(m - c - 1, m, ahead)
    return float((stats.binom.pmf(m, starts, discordance) * np.where(c >= 0, rejects, 0.0)).sum())


@lru_cache(maxsize=4096)
def episodes_to_separate(
    first: float,
    second: float,
    difference: float | None = None,
    discordance: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int | None:
    """Episodes per policy with which a difference as large as measured is found with probability ``power``.

    Paired when ``discordance`` (share of starts where just one succeeds) is given: the exact power of the
    exact test.  Otherwise unpaired rates, with the continuity-corrected normal formula (Fleiss, Tytun & Ury
    1980), to within 1 % where the answer is beyond 1000. None for equal rates, or if more than a million would be
    needed.
    """
    gap = abs(first - second if difference is None else difference)
    if gap < 1e-9:
        return None
    z, z_power = stats.norm.ppf(1 - alpha / 2), stats.norm.ppf(power)
    if discordance is not None:
        # Connor (1987) gives the neighbourhood, exact power the answer.
        root = z * math.sqrt(discordance) + z_power * math.sqrt(max(discordance - gap**2, 0.0))
        guess = math.ceil((root / gap) ** 2)
        low, high = max(1, 4 * guess // 5), max(8, 5 * guess // 4)
        if guess > 2 * MOST_EPISODES:
            return None
        while mcnemar_power(low, gap, discordance, alpha) >= power and low > 1:
            low //= 2
        while mcnemar_power(high, gap, discordance, alpha) < power:
            high *= 2
        while high - low > (1 if high < 1000 else low // 100):
            middle = (low + high) // 2
            low, high = (
                (low, middle) if mcnemar_power(middle, gap, discordance, alpha) >= power else (middle, high)
            )
        return high if high <= MOST_EPISODES else None
    mean = (first + second) / 2
    root = z * math.sqrt(2 * mean * (1 - mean)) + z_power * math.sqrt(
        first * (1 - first) + second * (1 - second)
    )
    plain = (root / gap) ** 2
    corrected = math.ceil(plain / 4 * (1 + math.sqrt(1 + 4 / (plain * gap))) ** 2) if plain > 0 else 1
    return corrected if corrected <= MOST_EPISODES else None
