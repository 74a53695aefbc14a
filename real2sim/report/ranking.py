"""Which policy is best in the simulator, and which cannot be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from real2sim.report.letters import compact_letters
from real2sim.report.paired_tests import Comparisons, compare_policies
from real2sim.report.sequential import episodes_to_separate, first_separated, in_turns
from real2sim.report.several_runs import effective_episodes

FAMILY_ERROR = 0.05
"""Chance that any two policies of equal skill get different letters."""
DRAWS = 20_000
COLUMNS = ["policy", "family", "episodes", "successes", "rate", "low", "high", "best", "letters"]


@dataclass(frozen=True)
class Ranking:
    """The ranking of one set of policies by their simulated rate, averaged over the tasks that all have."""

    table: pd.DataFrame
    """One row per policy, best first: rate, 95 % credible interval, probability of being best, letters."""
    beats: pd.DataFrame
    """Probability (k k) that the row's policy is better than the column's."""
    comparisons: Comparisons | None
    neighbours: pd.DataFrame
    """Policies next to each other in the ranking: test, and what it would take to separate them."""
    tasks: tuple[str, ...]
    statement: str
    """What the ranking rests on, or why there is none."""


def posterior_draws(
    successes: np.ndarray, episodes: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """Draws (draws k) of each policy's mean rate over tasks, from counts (k t).

    Independent Beta(successes + 1/2, failures + 1/2) per task: Jeffreys' prior.
    """
    rng = np.random.default_rng(seed)
    k, n = np.asarray(successes, float), np.asarray(episodes, float)
    total = np.zeros((draws, len(k)))
    for task in range(k.shape[1]):
        total += rng.beta(k[:, task] + 0.5, n[:, task] - k[:, task] + 0.5, size=(draws, len(k)))
    return total / k.shape[1]


def probability_best(draws: np.ndarray) -> np.ndarray:
    """Probability (k,) that each policy is the best, from posterior draws (draws k)."""
    return np.bincount(draws.argmax(axis=1), minlength=draws.shape[1]) / len(draws)


def probability_better(draws: np.ndarray) -> np.ndarray:
    """Probability (k k) that the first policy is better than the second; the diagonal is 1/2."""
    k = draws.shape[1]
    better = np.full((k, k), 0.5)
    for i in range(k):
        better[i] = (draws[:, [i]] > draws).mean(axis=0)
        better[i, i] = 0.5
    return better


def rank(episodes: pd.DataFrame) -> Ranking:
    """Rank the policies of one set of scored episodes (policy, task, success; start and seed for pairing)."""
    counts = episodes.groupby(["policy", "task"], sort=False, observed=True)["success"].agg(["sum", "count"])
    empty = Ranking(pd.DataFrame(columns=COLUMNS), pd.DataFrame(), None, pd.DataFrame(), (), "")
    if counts.empty:
        return Ranking(**{**empty.__dict__, "statement": "There are no episodes to rank by."})
    per_task = counts["count"].unstack("task")
    tasks = tuple(str(task) for task in per_task.columns[per_task.notna().all(axis=0)])
    if not tasks:
        words = "No task was run by all policies, so they cannot be ranked together."
        return Ranking(**{**empty.__dict__, "statement": words})
    left_out = [str(task) for task in per_task.columns if task not in tasks]
    successes = counts["sum"].unstack("task")[list(tasks)]
    sizes = per_task[list(tasks)]
    rate = (successes / sizes).mean(axis=1).sort_values(ascending=False, kind="stable")
    policies = [str(policy) for policy in rate.index]
    successes, sizes = successes.loc[policies], sizes.loc[policies]
    worth = effective_episodes(episodes if "set" in episodes else episodes.assign(set="")).droplevel("set")
    share = worth.unstack("task").loc[policies, list(tasks)].to_numpy() / sizes.to_numpy()
    draws = posterior_draws(successes.to_numpy() * share, sizes.to_numpy() * share)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    used = episodes[episodes["task"].isin(tasks)]
    comparisons = compare_policies(used, policies)
    differs = np.zeros((len(policies), len(policies)), bool)
    i, j = np.triu_indices(len(policies), 1)
    differs[i, j] = comparisons.table["p_family"].to_numpy() <= FAMILY_ERROR
    families = used.drop_duplicates("policy").set_index("policy")["family"]
    table = pd.DataFrame(
        {
            "policy": policies,
            "family": families.reindex(policies).to_numpy(),
            "episodes": sizes.sum(axis=1).astype(int).to_numpy(),
            "successes": successes.sum(axis=1).astype(int).to_numpy(),
            "rate": rate.to_numpy(),
            "low": low,
            "high": high,
            "best": probability_best(draws),
            "letters": compact_letters(differs | differs.T),
        }
    )
    beats = pd.DataFrame(probability_better(draws), index=policies, columns=policies)
    test = (
        "paired on shared start frames (exact McNemar test)"
        if comparisons.paired
        else ("unpaired (exact test on counts, since the policies do not share start frames)")
    )
    words = f"Ranked by the simulated rate, averaged over {len(tasks)} task{'s' if len(tasks) > 1 else ''}."
    if len(policies) > 1:
        words += (
            f" Policies that share a letter cannot be told apart; all pairs are tested, {test}, with at most "
            f"{100 * FAMILY_ERROR:.0f} % chance of any false difference (Holm). The chance to be best takes no "
            "account of how many pairs there are, and may be sure where the letters are not yet."
        )
    if left_out:
        words += f" Left out because not every policy ran them: {', '.join(left_out)}."
    return Ranking(table, beats, comparisons, _neighbours(table, beats, comparisons), tasks, words)


def _neighbours(table: pd.DataFrame, beats: pd.DataFrame, comparisons: Comparisons) -> pd.DataFrame:
    """Each policy and the next one in the ranking.

    Which two are neighbours is seen from the data, so "needed" and "stopped" share the error among all pairs
    (Bonferroni): it is the chance that any two equal policies of the set are ever told apart.
    """
    tests = comparisons.table.set_index(["first", "second"])
    alpha = FAMILY_ERROR / max(len(tests), 1)
    turns = None if comparisons.outcomes is None else in_turns(comparisons.outcomes)
    rows = []
    for (_, ahead), (_, behind) in zip(table.iloc[:-1].iterrows(), table.iloc[1:].iterrows(), strict=True):
        test = tests.loc[(ahead["policy"], behind["policy"])]
        done = int(min(ahead["episodes"], behind["episodes"]))
        discordance = None
        stopped = None
        if comparisons.paired and turns is not None:
            done = int(test["shared"])
            discordance = float(test["only_first"] + test["only_second"]) / done
            difference = float(test["only_first"] - test["only_second"]) / done
            stopped = first_separated(turns, ahead["policy"], behind["policy"], alpha)
        else:
            difference = float(ahead["rate"] - behind["rate"])
        rates = float(ahead["rate"]), float(behind["rate"])
        needed = episodes_to_separate(*rates, difference, discordance, alpha=alpha)
        separated = test["p_family"] <= FAMILY_ERROR
        rows.append(
            {
                "ahead": ahead["policy"],
                "behind": behind["policy"],
                "difference": difference,
                "better": float(beats.loc[ahead["policy"], behind["policy"]]),
                "p": float(test["p"]),
                "p_family": float(test["p_family"]),
                "done": done,
                "needed": needed,
                "still_needed": 0 if separated else None if needed is None else max(needed - done, 1),
                "stopped_at": stopped,
            }
        )
    columns = ["ahead", "behind", "difference", "better", "p", "p_family", "done", "needed", "still_needed"]
    return pd.DataFrame(rows, columns=[*columns, "stopped_at"])
