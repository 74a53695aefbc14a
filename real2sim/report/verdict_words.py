"""The sentences of the first paragraph; which of them are said is decided in `real2sim.report.verdict`."""

from __future__ import annotations

import pandas as pd

from real2sim.report.agreement import Agreement
from real2sim.report.judge_error import JudgeError, balanced_accuracy_interval
from real2sim.report.wording import missing, number, plural, task_name

LEAST_CHANCE = 1e-4


def chance_words(p: float) -> str:
    """“1 time in 40”, “80 times in 100”: how often luck alone would do as well."""
    if p < LEAST_CHANCE:
        return "less than 1 time in 10 000"
    if p <= 0.5:
        return f"1 time in {round(1 / p)}"
    return f"{round(100 * p)} times in 100" if p < 0.995 else "more than 99 times in 100"


def why_no_order(pooled: Agreement) -> str:
    reason = pooled.pearson.unsupported if missing(pooled.pearson.value) else ""
    reason = reason or "no two training runs were measured on the same tasks with different results"
    return f"{reason[0].upper()}{reason[1:]}."


def runs(pooled: Agreement) -> str:
    units, runs = pooled.permutation.units, plural(pooled.families, "independent training run")
    words = f"{plural(pooled.policies, 'policy')} from {runs}" if pooled.policies > pooled.families else runs
    return words if units == pooled.families else f"{words}, of which {units} can be exchanged"


def floor(pooled: Agreement) -> str:
    often = chance_words(pooled.permutation.floor)
    return f"With {runs(pooled)}, even a perfect order would come about by luck {often}."


def luck(pooled: Agreement, reversed_chance: float) -> str:
    test = pooled.permutation
    if test.p_opposite <= reversed_chance:
        often = chance_words(test.p_opposite)
        return f"With {runs(pooled)}, an order as bad as this would come about by luck {often}."
    return f"With {runs(pooled)}, agreement this good would come about by luck {chance_words(test.p)}."


def interval_of_r(pooled: Agreement) -> str:
    r = pooled.pearson
    if missing(r.low):
        return ""
    others = f"{number(r.low)} to {number(r.high)}"
    return f"Pearson r is {number(r.value)}, and other policies like these might show {others}."


def order(pooled: Agreement) -> str:
    if missing(pooled.mmrv_within.high):
        return ""
    points = plural(round(100 * pooled.mmrv_within.high), "point")
    return (
        f"Trusting the simulated order costs a typical policy at most {points} of real success (MMRV within "
        "tasks, upper end of the 95 % interval)."
    )


def pairs(table: pd.DataFrame, real_name: str) -> str:
    if len(table) == 0:
        return f"No two of them differ in reality ({real_name})."
    right, sure = int((table["order"] == "right").sum()), table[table["real_certain"].astype(bool)]
    words = (
        f"Of {plural(len(table), 'pair')} of policies that differ in reality ({real_name}), {right} "
        f"{'comes' if right == 1 else 'come'} out in the same order in simulation; "
    )
    if len(sure) == 0:
        return words + "the real trials are too few to tell any of them apart with confidence."
    sure_right = int((sure["order"] == "right").sum())
    return words + f"of the {len(sure)} that the real trials can tell apart with confidence, {sure_right} do."


def costliest(table: pd.DataFrame) -> str:
    wrong = table[table["order"] != "right"]
    if wrong.empty:
        return ""
    worst = wrong.loc[wrong["real_difference"].idxmax()]
    return (
        f"The costliest mistake: on {task_name(worst['task'])}, {worst['better']} is "
        f"{100 * worst['real_difference']:.0f} points better than {worst['worse']} in reality, and not so in "
        "simulation."
    )


def gap(pooled: Agreement, close: float) -> str:
    size, bias = pooled.mae_points.value, pooled.bias_points.value
    words = (
        f"A simulated success rate differs from the real one by {number(size, 1)} percentage points on average "
        f"({plural(pooled.points, 'rate')} compared)"
    )
    tilt = "too high" if bias > 0 else "too low"
    words += f", mostly {tilt}" if abs(bias) > 0.7 * size and abs(bias) >= 2 else ""
    return words + ("." if size <= close else "; do not quote simulated rates as real ones.")


def judge(error: JudgeError | None, good: float) -> str:
    if error is None or not error.balanced_accuracy < good:
        return ""
    low, high = balanced_accuracy_interval(error)
    return (
        f"On {error.positives + error.negatives} labelled episodes (“{error.name}”) the judge's balanced accuracy is "
        f"{number(error.balanced_accuracy)} (95 %: {number(low)} to {number(high)}), where a coin has 0.5."
    )
