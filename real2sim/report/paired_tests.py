"""Do two policies differ? Exact tests on shared starts, or on counts where starts are not shared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from real2sim.report.several_runs import effective_episodes

SHARED = 0.5
"""Fewest shared starts, as a share of the smaller policy's episodes, for a paired test."""


def mcnemar_exact(only_first: np.ndarray, only_second: np.ndarray) -> np.ndarray:
    """Two-sided exact p of paired outcomes: of the starts where just one policy succeeded, is it a fair coin?

    McNemar (1947) with the binomial distribution in place of chi-squared.
    """
    b, c = np.asarray(only_first, int), np.asarray(only_second, int)
    return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(b, c), b + c, 0.5))


def sign_flip_exact(differences: np.ndarray) -> float:
    """Two-sided exact p of whole-numbered differences per start: is the sign of each a fair coin's?

    The sum of the differences is compared with its distribution over all signs (Fisher 1935).  With differences of
    -1, 0 and 1 this is `mcnemar_exact`; with several repetitions per start it keeps those of one start together.
    """
    d = np.asarray(differences, int)
    sizes = np.abs(d[d != 0])
    if len(sizes) == 0:
        return 1.0
    chance = np.ones(1)
    for size, times in zip(*np.unique(sizes, return_counts=True), strict=True):
        coins = np.zeros(size * times + 1)
        coins[::size] = stats.binom.pmf(np.arange(times + 1), times, 0.5)
        chance = np.convolve(chance, coins)
    # chance[m] belongs to a sum of 2 m - total.
    sums = 2 * np.arange(len(chance)) - sizes.sum()
    return float(min(1.0, chance[np.abs(sums) >= abs(d.sum())].sum()))


@lru_cache(maxsize=8)
def _log_factorials(n: int) -> np.ndarray:
    return special.gammaln(np.arange(n + 2) + 1.0)


def _hypergeometric(k1: int, n1: int, k2: int, n2: int) -> np.ndarray:
    """Chance of each possible number of the first policy's successes, given the total."""
    total = k1 + k2
    x = np.arange(max(0, total - n2), min(total, n1) + 1)
    f = _log_factorials(1 << (n1 + n2).bit_length())
    ways = f[n1] - f[x] - f[n1 - x] + f[n2] - f[total - x] - f[n2 - total + x]
    chance: np.ndarray = np.exp(ways - (f[n1 + n2] - f[total] - f[n1 + n2 - total]))
    return chance


def stratified_exact(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact p that two policies have equal rates on every task, from unpaired counts.

    ``first`` and ``second`` are (t 2): successes and episodes per task.  Given the totals of each task, the
    first policy's successes are hypergeometric; their sum over tasks is compared (Gart 1970; one task:
    Fisher's exact test).  The p-value adds all sums that are no likelier than the one seen.
    """
    distribution, observed = np.ones(1), 0
    pairs = zip(np.asarray(first, int).tolist(), np.asarray(second, int).tolist(), strict=True)
    for (k1, n1), (k2, n2) in pairs:
        distribution = np.convolve(distribution, _hypergeometric(k1, n1, k2, n2))
        observed += k1 - max(0, k1 + k2 - n2)
    return float(min(1.0, distribution[distribution <= distribution[observed] * (1 + 1e-7)].sum()))


@dataclass(frozen=True)
class Comparisons:
    """All pairs of policies of one set, tested in the simulator."""

    table: pd.DataFrame
    """first, second, shared, only_first, only_second, p, p_family; one row per pair."""
    paired: bool
    outcomes: pd.DataFrame | None = None
    """Successes per shared start (rows) and policy (columns); None without start frames."""


def outcome_table(episodes: pd.DataFrame) -> pd.DataFrame:
    """Successes (n k), one row per task, start and repetition, one column per policy; missing where not run.

    Repetitions of a start are numbered by seed, so that equal seeds meet.
    """
    frame = episodes.copy()
    if "seed" in frame:
        frame = frame.sort_values("seed", kind="stable")
    frame["repetition"] = frame.groupby(["policy", "task", "start"], sort=False, observed=True).cumcount()
    return frame.pivot(index=["task", "start", "repetition"], columns="policy", values="success")


def compare_policies(episodes: pd.DataFrame, policies: list[str]) -> Comparisons:
    """Exact tests of every pair of ``policies``, with p-values for the family of all pairs (Holm 1979).

    Paired (McNemar) where policies share starts, repetitions of a start kept together; otherwise unpaired, task by
    task, on the tasks both have.
    """
    k = len(policies)
    i, j = np.triu_indices(k, 1)
    shared = np.zeros((k, k))
    wide = None
    if "start" in episodes and episodes["start"].notna().all() and k > 1:
        wide = outcome_table(episodes).reindex(columns=policies)
        known = wide.notna().to_numpy(float)
        success = wide.fillna(0.0).to_numpy(float)
        shared = known.T @ known
        only = success.T @ (known - success)
    sizes = np.array([float((episodes["policy"] == policy).sum()) for policy in policies])
    paired = bool(
        k > 1 and (shared[i, j] >= SHARED * np.minimum(sizes[i], sizes[j])).all() and (shared[i, j] > 0).all()
    )
    names = np.array(policies, dtype=object)
    table = pd.DataFrame({"first": names[i], "second": names[j]})
    if paired:
        assert wide is not None
        b, c = only[i, j].round().astype(int), only[j, i].round().astype(int)
        p = mcnemar_exact(b, c)
        if wide.index.get_level_values("repetition").max() > 0:
            p = _by_start(wide, i, j)
        table = table.assign(shared=shared[i, j].astype(int), only_first=b, only_second=c, p=p)
    else:
        table = table.assign(
            shared=0, only_first=np.nan, only_second=np.nan, p=_unpaired(episodes, policies, i, j)
        )
    family = multipletests(table["p"].to_numpy(), method="holm")[1] if len(table) else table["p"]
    return Comparisons(table.assign(p_family=family), paired, wide)


def _by_start(wide: pd.DataFrame, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """p of each pair with all repetitions of a start kept together."""
    start = wide.groupby(level=["task", "start"], sort=False).ngroup().to_numpy()
    values = wide.to_numpy(float)
    out = np.ones(len(i))
    for place, (a, b) in enumerate(zip(i, j, strict=True)):
        out[place] = sign_flip_exact(np.bincount(start, np.nan_to_num(values[:, a] - values[:, b])).round())
    return out


def _unpaired(episodes: pd.DataFrame, policies: list[str], i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """p of each pair from counts, on the tasks that both have; repeated starts count for what they are worth."""
    counts = episodes.groupby(["policy", "task"], observed=True)["success"].agg(["sum", "count"])
    worth = effective_episodes(episodes if "set" in episodes else episodes.assign(set="")).droplevel("set")
    share = (worth / counts["count"].reindex(worth.index)).unstack("task").reindex(policies).to_numpy()
    successes, sizes = (counts[c].unstack("task").reindex(policies).to_numpy(float) for c in ("sum", "count"))
    sizes, successes = np.round(sizes * share), np.round(successes * share)
    out = np.ones(len(i))
    for place, (a, b) in enumerate(zip(i, j, strict=True)):
        both = ~(np.isnan(sizes[a]) | np.isnan(sizes[b]))
        if both.any():
            first, second = (np.c_[successes[x, both], sizes[x, both]] for x in (a, b))
            out[place] = stratified_exact(first, second)
    return out
