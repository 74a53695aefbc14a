"""Do two policies differ? Exact tests on shared starts, or on counts where starts are not shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

SHARED = 0.5
"""Fewest shared starts, as a share of the smaller policy's episodes, for a paired test."""


def mcnemar_exact(only_first: np.ndarray, only_second: np.ndarray) -> np.ndarray:
    """Two-sided exact p of paired outcomes: of the starts where just one policy succeeded, is it a fair coin?

    McNemar (1947) with the binomial distribution in place of chi-squared.
    """
    b, c = np.asarray(only_first, int), np.asarray(only_second, int)
    return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(b, c), b + c, 0.5))


def stratified_exact(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact p that two policies have equal rates on every task, from unpaired counts.

    ``first`` and ``second`` are (t 2): successes and episodes per task.  Given the totals of each task, the
    first policy's successes are hypergeometric; their sum over tasks is compared (Gart 1970; one task:
    Fisher's exact test).  The p-value adds all sums that are no likelier than the one seen.
    """
    distribution, observed = np.ones(1), 0
    for (k1, n1), (k2, n2) in zip(np.asarray(first, int), np.asarray(second, int), strict=True):
        low, high = max(0, k1 + k2 - n2), min(k1 + k2, n1)
        chance = stats.hypergeom.pmf(np.arange(low, high + 1), n1 + n2, k1 + k2, n1)
        distribution = np.convolve(distribution, chance)
        observed += k1 - low
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

    Paired (McNemar) where policies share starts; otherwise unpaired, task by task, on the tasks both have.
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
        b, c = only[i, j].round().astype(int), only[j, i].round().astype(int)
        table = table.assign(
            shared=shared[i, j].astype(int), only_first=b, only_second=c, p=mcnemar_exact(b, c)
        )
    else:
        counts = episodes.groupby(["policy", "task"], observed=True)["success"].agg(["sum", "count"])
        p = []
        for first, second in zip(names[i], names[j], strict=True):
            tasks = counts.loc[first].index.intersection(counts.loc[second].index)
            p.append(
                stratified_exact(
                    counts.loc[first].loc[tasks].to_numpy(), counts.loc[second].loc[tasks].to_numpy()
                )
                if len(tasks)
                else 1.0
            )
        table = table.assign(shared=0, only_first=np.nan, only_second=np.nan, p=np.array(p, float))
    family = multipletests(table["p"].to_numpy(), method="holm")[1] if len(table) else table["p"]
    return Comparisons(table.assign(p_family=family), paired, wide)
