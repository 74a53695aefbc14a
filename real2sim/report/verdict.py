"""The first paragraph of the page: what the numbers allow one to say, for a reader who knows robots.

The rules are few and fixed, so that the same numbers always give the same words:

* *cannot say*: nothing to compare, or so few independent policies that even perfect agreement would arise
  by chance more often than 1 time in 20;
* *ranks as reality does*: agreement rarer than 1 in 20 by chance, at least 95 % of the pairs that reality
  itself can tell apart in the right order, and an MMRV within tasks of at most 0.05, or one that a perfect
  simulator with as many trials might show too (up to 0.15);
* *separates good from bad, not close ones*: as rare by chance, but not both of the other two;
* *no evidence*: otherwise.

Rates are called usable as they are when the mean absolute gap is at most 8 points.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from real2sim.report.agreement import Agreement
from real2sim.report.wording import missing, number, plural, task_name

CHANCE = 0.05
CLOSE_POINTS = 8.0
RANKED_MMRV = 0.05
RANKED_PAIRS = 0.95
NOISY_MMRV = 0.15
LEAST_CHANCE = 1e-4


@dataclass(frozen=True)
class Verdict:
    """Headline, paragraph, and one of "good", "mixed", "bad", "unknown"."""

    grade: str
    headline: str
    paragraph: str

    @property
    def text(self) -> str:
        return f"{self.headline} {self.paragraph}"


def chance_words(p: float) -> str:
    """“1 time in 40”: how often luck alone would do as well."""
    if p < LEAST_CHANCE:
        return "less than 1 time in 10 000"
    return "every time" if p > 2 / 3 else f"1 time in {round(1 / p)}"


def verdict(pooled: Agreement, pairs: pd.DataFrame, real_name: str, why_nothing: str = "") -> Verdict:
    """What may be concluded about one set of policies from its pooled agreement and its pairs."""
    if pooled.points == 0:
        reason = why_nothing or f"no policy of this run was also measured in reality ({real_name})"
        return Verdict(
            "unknown",
            "Whether the simulator is right cannot be said.",
            f"There is nothing to compare with: {reason}. The simulated success rates below stand alone.",
        )
    gap = number(pooled.mae_points.value, 1)
    gap_words = (
        f"A simulated success rate differs from the real one by {gap} percentage points on average "
        f"({plural(pooled.points, 'rate')} compared)"
    )
    close = pooled.mae_points.value <= CLOSE_POINTS
    bias = pooled.bias_points.value
    tilt = "too high" if bias > 0 else "too low"
    gap_words += f", mostly {tilt}" if abs(bias) > 0.7 * pooled.mae_points.value and abs(bias) >= 2 else ""
    gap_words += "." if close else "; do not quote simulated rates as real ones."
    if missing(pooled.p):
        return Verdict(
            "unknown",
            "The ranking cannot be judged.",
            f"{(pooled.pearson.unsupported or 'no correlation exists').capitalize()}. {gap_words}",
        )

    right, total = int((pairs["order"] == "right").sum()), len(pairs)
    sure = pairs[pairs["real_certain"].astype(bool)]
    sure_right = int((sure["order"] == "right").sum())
    pair_words = (
        f"Of {plural(total, 'pair')} of policies that differ in reality ({real_name}), {right} come out in "
        f"the "
        f"same order in simulation; of the {len(sure)} that the real trials can tell apart with confidence, "
        f"{sure_right} do."
    )
    if total == 0:
        pair_words = f"No two of them differ in reality ({real_name})."
    runs = f"{plural(pooled.families, 'independent policy')}"
    if pooled.policies > pooled.families:
        runs = f"{pooled.policies} policies from only {plural(pooled.families, 'independent training run')}"
    if pooled.p_floor > CHANCE:
        return Verdict(
            "unknown",
            "There are too few policies to say whether the ranking can be believed.",
            f"With {runs}, even a perfect ranking would come about by luck {chance_words(pooled.p_floor)}. "
            f"{pair_words} {gap_words}",
        )
    luck = f"With {runs}, agreement this good would come about by luck {chance_words(pooled.p)}."
    wrong = pairs[pairs["order"] != "right"].sort_values("real_difference", ascending=False)
    if pooled.p > CHANCE:
        return Verdict(
            "bad",
            "There is no evidence that this simulator ranks policies as reality does.",
            f"{luck} {pair_words} {gap_words}",
        )
    enough_pairs = len(sure) == 0 or sure_right >= RANKED_PAIRS * len(sure)
    noise = 0.0 if missing(pooled.ceiling_within) else min(pooled.ceiling_within, NOISY_MMRV)
    if enough_pairs and pooled.mmrv_within.value <= max(RANKED_MMRV, noise):
        words = f"{pair_words} {luck} {gap_words}"
        if pooled.mmrv_within.value > RANKED_MMRV:
            words += (
                " Close policies do change places, but no more than so few trials would make them do anyway."
            )
        return Verdict(
            "good" if close else "mixed", "The simulator ranks these policies as reality does.", words
        )
    worst = wrong.iloc[0] if len(wrong) else None
    worst_words = ""
    if worst is not None:
        worst_words = (
            f" The costliest mistake: on {task_name(worst['task'])}, {worst['better']} is "
            f"{100 * worst['real_difference']:.0f} "
            f"points better than {worst['worse']} in reality, and not so in simulation."
        )
    return Verdict(
        "mixed",
        "The simulator separates good policies from bad ones, but do not rely on it to order close ones.",
        f"{pair_words}{worst_words} {luck} {gap_words}",
    )
