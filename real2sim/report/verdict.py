"""The first paragraph of the page: what the numbers allow one to say, for a reader who knows robots.

The rules are few and fixed, so that the same numbers always give the same words.  The first that applies:

* *cannot be said*: nothing to compare, a judge that is not shown to be better than chance, no order to test, or so
  few training runs that even a perfect order would arise by chance more often than 1 time in 20;
* *the wrong way round*: an order as bad as this is rarer than 1 in 100 by chance;
* *no evidence*: agreement this good is not rarer than 1 in 20 by chance;
* *looks right, too few to rely on*: it is, but the interval of r over training runs reaches down to 0;
* *ranks as reality does*: the 95 % interval of MMRV within tasks ends at 0.10 or below, of the pairs that reality can
  tell apart there is at least one and 95 % are in the right order, the better half of the policies is not turned
  round, and the judge is right at least three times out of four;
* *separates good from bad, not close ones*: otherwise.

How often each headline is given when it is false is measured in docs/statistics.md.  Rates are called usable as they
are when the mean absolute gap is at most 8 points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from real2sim.report import verdict_words as words
from real2sim.report.agreement import Agreement, Measure
from real2sim.report.judge_error import JudgeError, balanced_accuracy_interval
from real2sim.report.permutation import Permutation
from real2sim.report.wording import missing

CHANCE = 0.05
REVERSED_CHANCE = 0.01
CLOSE_POINTS = 8.0
RANKED_MMRV = 0.10
RANKED_PAIRS = 0.95
GOOD_JUDGE = 0.75

NOTHING = "Whether the simulator is right cannot be said."
CHANCE_JUDGE = "No simulated rate can be believed: the judge is not shown to be better than chance."
NO_ORDER = "The ranking cannot be judged."
TOO_FEW = "There are too few policies to say whether the ranking can be believed."
REVERSED = "The simulator ranks these policies the wrong way round."
NO_EVIDENCE = "There is no evidence that this simulator ranks policies as reality does."
LOOKS_RIGHT = "The simulated order looks right, but there are too few policies to rely on it."
RANKS = "The simulator ranks these policies as reality does."
SEPARATES = "The simulator separates good policies from bad ones, but do not rely on it to order close ones."


@dataclass(frozen=True)
class Verdict:
    """Headline, paragraph, and one of "good", "mixed", "bad", "unknown"."""

    grade: str
    headline: str
    paragraph: str

    @property
    def text(self) -> str:
        return f"{self.headline} {self.paragraph}"


class Evidence(Protocol):
    """What a headline rests on; an `Agreement` has it."""

    @property
    def points(self) -> int: ...
    @property
    def permutation(self) -> Permutation: ...
    @property
    def pearson(self) -> Measure: ...
    @property
    def mmrv_within(self) -> Measure: ...
    @property
    def mae_points(self) -> Measure: ...


def headline(pooled: Evidence, pairs: pd.DataFrame, judge: JudgeError | None = None) -> tuple[str, str]:
    """Grade and headline of one set of policies, by the rules above."""
    if pooled.points == 0:
        return "unknown", NOTHING
    if judge is not None and balanced_accuracy_interval(judge)[0] <= 0.5:
        return "unknown", CHANCE_JUDGE
    test = pooled.permutation
    if missing(test.p):
        return "unknown", NO_ORDER
    if test.floor > CHANCE:
        return "unknown", TOO_FEW
    if test.p_opposite <= REVERSED_CHANCE:
        return "bad", REVERSED
    if test.p > CHANCE:
        return "bad", NO_EVIDENCE
    r = pooled.pearson
    if not (r.low > 0 or (missing(r.low) and r.value > 1 - 1e-9)):
        return "mixed", LOOKS_RIGHT
    sure = pairs[pairs["real_certain"].astype(bool)]
    ranked = (
        len(sure) > 0
        and (sure["order"] == "right").sum() >= RANKED_PAIRS * len(sure)
        and pooled.mmrv_within.high <= RANKED_MMRV
        and upper_half_agrees(pairs)
        and (judge is None or not judge.balanced_accuracy < GOOD_JUDGE)
    )
    close = pooled.mae_points.value <= CLOSE_POINTS
    return ("good" if close else "mixed", RANKS) if ranked else ("mixed", SEPARATES)


def upper_half_agrees(pairs: pd.DataFrame) -> bool:
    """Whether simulated and real rates rise together among the better half of the policies of each task.

    These are the policies that somebody would deploy; the worse half alone can make all other numbers good.
    """
    total = 0.0
    for _, group in pairs.groupby("task", sort=False):
        rates = pd.concat(
            [group.set_index("better")["real_better"], group.set_index("worse")["real_worse"]]
        ).groupby(level=0).first()  # fmt: skip
        upper = group[group["real_worse"] >= rates.median()]
        total += float(np.sum((upper["sim_better"] - upper["sim_worse"]) * upper["real_difference"]))
    return total > 0


def verdict(
    pooled: Agreement,
    pairs: pd.DataFrame,
    real_name: str,
    why_nothing: str = "",
    judge: JudgeError | None = None,
) -> Verdict:
    """What may be concluded about one set of policies from its pooled agreement, its pairs and its judge."""
    grade, said = headline(pooled, pairs, judge)
    if said == NOTHING:
        reason = why_nothing or f"no policy of this run was also measured in reality ({real_name})"
        alone = "The simulated success rates below stand alone."
        return Verdict(grade, said, f"There is nothing to compare with: {reason}. {alone}")
    pair_words, luck, gap = (
        words.pairs(pairs, real_name),
        words.luck(pooled, REVERSED_CHANCE),
        words.gap(pooled, CLOSE_POINTS),
    )
    judge_words = words.judge(judge, GOOD_JUDGE)
    sentences = {
        CHANCE_JUDGE: [judge_words],
        NO_ORDER: [words.why_no_order(pooled), gap],
        TOO_FEW: [words.floor(pooled), pair_words, gap],
        RANKS: [pair_words, words.order(pooled), luck, gap],
        SEPARATES: [pair_words, words.costliest(pairs), luck, gap, judge_words],
    }
    chosen = sentences.get(said, [luck, words.interval_of_r(pooled), pair_words, gap])
    return Verdict(grade, said, " ".join(part for part in chosen if part))
