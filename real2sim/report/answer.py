"""What somebody who has to choose a policy wants to know first: which one, whether to believe it, what to do next.

The best group holds the policy with the highest simulated rate and all that are not shown to differ from it (they share
a letter of the ranking with it).  What to do next follows from the headline of the verdict by fixed rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from real2sim.report import verdict as headlines
from real2sim.report.ranking import Ranking, posterior_draws
from real2sim.report.verdict import Verdict
from real2sim.report.wording import episodes_needed, listing, missing, percent, task_name

if TYPE_CHECKING:
    from real2sim.report.result import Report

TRUST = {
    "good": "Yes, for policies like these.",
    "mixed": "With care.",
    "bad": "No.",
    "unknown": "Not known.",
}
"""The verdict's grade as the answer to “can I believe it?”."""
FEWEST_RUNS = 4
"""Independent training runs from which on a perfect order is rarer by luck than 1 time in 20 (1/4! = 0.042)."""


@dataclass(frozen=True)
class Answer:
    """Best group, trust and next step of one set of policies, in words."""

    best: tuple[str, ...]
    """The best group, highest simulated rate first; empty where no policy can be named."""
    rate: float
    """Simulated rate of the first of them, averaged over the ranking's tasks; NaN where there is none."""
    best_words: str
    reality_words: str
    """How the best fares in reality, or an empty string where that was not measured."""
    trust: str
    next_words: str


def best_group(ranking: Ranking) -> tuple[str, ...]:
    """The policy ranked first and those that share a letter with it, in their order."""
    if ranking.table.empty:
        return ()
    first = set(str(ranking.table["letters"].iloc[0]))
    shared = [bool(first & set(str(letters))) for letters in ranking.table["letters"]]
    return tuple(str(policy) for policy in ranking.table["policy"][shared])


def real_means(rates: pd.DataFrame, tasks: tuple[str, ...]) -> pd.DataFrame:
    """Real rate of each policy (index) averaged over ``tasks``: rate, low, high, successes, episodes.

    Policies that lack one of the tasks are left out.  The interval is the 95 % credible one of `posterior_draws`;
    missing where counts are not stated.
    """
    columns = ["rate", "low", "high", "successes", "episodes"]
    part = rates[rates["task"].isin(tasks) & rates["real_rate"].notna()]
    wide = {
        column: part.pivot(index="policy", columns="task", values=f"real_{column}").reindex(
            columns=list(tasks)
        )
        for column in ("rate", "successes", "episodes", "effective")
    }
    whole = wide["rate"].notna().all(axis=1) if tasks else pd.Series(dtype=bool)
    if not whole.any():
        return pd.DataFrame(columns=columns, dtype=float)
    wide = {column: table[whole] for column, table in wide.items()}
    out = pd.DataFrame(index=wide["rate"].index)
    out["rate"] = wide["rate"].mean(axis=1)
    counted = wide["episodes"].notna().all(axis=1) & wide["successes"].notna().all(axis=1)
    worth = wide["effective"].where(wide["effective"].notna(), wide["episodes"])[counted]
    out["low"] = out["high"] = np.nan
    if counted.any():
        draws = posterior_draws((wide["rate"][counted] * worth).to_numpy(float), worth.to_numpy(float))
        out.loc[counted, ["low", "high"]] = np.quantile(draws, [0.025, 0.975], axis=0).T
    out["successes"] = wide["successes"].sum(axis=1, min_count=len(tasks))
    out["episodes"] = wide["episodes"].sum(axis=1, min_count=len(tasks))
    return out[columns]


def answer(report: Report, name: str) -> Answer:
    """The answer for one set of policies of a report."""
    ranking, said = report.ranking[name], report.verdicts[name]
    rates = report.rates[report.rates["set"] == name]
    best, rate, words = _best(ranking, rates)
    tasks = ranking.tasks or tuple(dict.fromkeys(str(task) for task in rates["task"]))
    return Answer(
        best, rate, words, _in_reality(best, rates, tasks), TRUST[said.grade], _next(said, best, ranking)
    )


def best_lines(report: Report) -> str:
    """The best group of every set, one line each."""
    lines = []
    for name in report.ranking:
        found = answer(report, name)
        lines.append(f"{name}: {found.best_words}")
    return "\n".join(lines)


def _best(ranking: Ranking, rates: pd.DataFrame) -> tuple[tuple[str, ...], float, str]:
    best = best_group(ranking)
    if best:
        table = ranking.table.set_index("policy")["rate"]
        rate = float(table[best[0]])
        if rate == 0:
            return (), float("nan"), "no policy ever succeeds in the simulator."
        words = f"best is {best[0]} ({percent(rate)})"
        if len(best) > 1:
            others = [f"{policy} ({percent(float(table[policy]))})" for policy in best[1:]]
            words += f"; not proven worse: {listing(others)}"
        return best, rate, f"{words}."
    wide = rates.pivot_table(index="policy", columns="task", values="sim_rate").dropna(axis=1)
    if wide.empty or wide.shape[1] == 0 or len(wide) < rates["policy"].nunique():
        return (), float("nan"), _best_per_task(rates)
    means = wide.mean(axis=1).sort_values(ascending=False, kind="stable")
    first, rate = str(means.index[0]), float(means.iloc[0])
    if rate == 0:
        return (), float("nan"), "no policy ever succeeds in the simulator."
    equal = [str(policy) for policy in means.index[np.isclose(means, rate, rtol=0, atol=1e-12)]]
    if len(equal) > 1:
        words = f"best are {listing(equal)} ({percent(rate)} each); rates alone do not say which others may be as good."
        return tuple(equal), rate, words
    words = f"best is {first} ({percent(rate)}); rates alone do not say which others may be as good."
    return (first,), rate, words


def _best_per_task(rates: pd.DataFrame) -> str:
    known = rates[rates["sim_rate"].notna()]
    if known.empty:
        return "no policy has a simulated rate."
    parts = []
    for task, group in known.groupby("task", sort=False):
        top = group[group["sim_rate"] == group["sim_rate"].max()]
        names = listing([str(policy) for policy in top["policy"]], most=3)
        parts.append(f"on {task_name(str(task))} {names} ({percent(float(top['sim_rate'].iloc[0]))})")
    return f"no task was run by all policies, so none is best overall; highest is {listing(parts, most=3)}."


def _in_reality(best: tuple[str, ...], rates: pd.DataFrame, tasks: tuple[str, ...]) -> str:
    real = real_means(rates, tasks)["rate"].astype(float)
    if not best or real.empty:
        return ""
    top = float(real.max())
    leaders = [str(policy) for policy in real.index[real == top]]
    if best[0] not in real.index:
        return f"It was not measured in reality, where the best is {listing(leaders)} ({percent(top)})."
    own = float(real[best[0]])
    if own == top:
        return f"In reality it succeeds in {percent(own)} and is the best there as well."
    return (
        f"In reality it succeeds in {percent(own)}; the best there is {listing(leaders)} with {percent(top)}."
    )


def _next(said: Verdict, best: tuple[str, ...], ranking: Ranking) -> str:
    """The next step that the headline allows."""
    headline, named = said.headline, listing(list(best))
    if headline == headlines.CHANCE_JUDGE:
        return "Choose no policy by these rates. Label episodes by eye, or train the judge again, then score once more."
    if headline == headlines.NOTHING:
        return (
            "Run some of these policies on the robot, good and bad ones, and give their rates with --real; "
            "`real2sim plan` says how many trials it takes. Until then this is an order in the simulator only."
        )
    if headline == headlines.NO_ORDER:
        return "Measure policies that differ, in both worlds and on the same tasks."
    if headline == headlines.TOO_FEW:
        return (
            f"Take the order as a guess. Measure at least {FEWEST_RUNS} policies from independent training runs in "
            "reality, better eight, and report again."
        )
    if headline in (headlines.REVERSED, headlines.NO_EVIDENCE):
        return (
            "Do not choose by this simulator; choose by real trials. The film strips of the largest gaps show where it "
            "goes wrong."
        )
    if not best:
        return "Look for a policy that succeeds on tasks that all of them have; none can be called the best so far."
    after = _to_tell_apart(best, ranking)
    if headline == headlines.RANKS:
        if len(best) == 1:
            return f"Put {named} on the robot."
        return f"Put {best[0]} on the robot first, or let real trials decide among {named}.{after}"
    if headline == headlines.SEPARATES:
        if len(best) == 1:
            return f"Try {named} on the robot first, and the next ones of the ranking beside it."
        return f"Leave out the policies behind these, and let real trials decide among {named}.{after}"
    return (
        f"Try {best[0]} on the robot first, but keep the others: measure more independent training runs in reality "
        "before relying on this order."
    )


def _to_tell_apart(best: tuple[str, ...], ranking: Ranking) -> str:
    """What it takes to tell the first two apart; nothing where one alone is best."""
    if len(best) < 2:
        return ""
    rows = ranking.neighbours
    rows = rows[(rows["ahead"] == best[0]) & (rows["behind"] == best[1])] if len(rows) else rows
    if rows.empty or missing(rows["still_needed"].iloc[0]) or rows["still_needed"].iloc[0] == 0:
        return ""
    return (
        f" In simulation, {episodes_needed(rows['still_needed'].iloc[0])} more episodes each would tell the first two "
        "apart."
    )
