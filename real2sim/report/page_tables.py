"""The page's tables: cells as text, each number with its count and interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from real2sim.report import wording
from real2sim.report.agreement import Agreement, Measure
from real2sim.report.permutation import floor_words

if TYPE_CHECKING:
    from real2sim.report.result import Report

MOST_WRONG_PAIRS = 12
MEASURE_NAMES = {
    "pearson": ("Pearson r", 3),
    "pearson_true": ("Pearson r of the true rates (noise of few episodes taken out)", 3),
    "spearman": ("Spearman ρ", 3),
    "kendall": ("Kendall τ-b", 3),
    "mmrv": ("MMRV", 3),
    "mmrv_within": ("MMRV within tasks", 3),
    "mae_points": ("Mean absolute gap, points", 1),
    "mae_true_points": ("Mean absolute gap of the true rates, points", 1),
    "bias_points": ("Mean gap (sim − real), points", 1),
}


def _measure_cells(value: Agreement) -> Iterator[dict[str, str]]:
    for name, (label, digits) in MEASURE_NAMES.items():
        measure: Measure = getattr(value, name)
        ceiling = value.ceiling_finite or value.ceiling
        limit = ""
        if ceiling is not None and name in ("pearson", "mmrv", "mae_points"):
            stem = "mae" if name == "mae_points" else name
            limit = wording.interval(
                getattr(ceiling, f"{stem}_low"), getattr(ceiling, f"{stem}_high"), digits
            )
        yield {
            "name": label,
            "value": wording.number(measure.value, digits),
            "interval": wording.interval(measure.low, measure.high, digits),
            "drop": wording.interval(measure.drop_low, measure.drop_high, digits),
            "ceiling": limit,
            "why": measure.unsupported,
        }


def agreement_tables(report: Report, name: str) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = []
    for scope, value in report.by_set[name].items():
        if value.points == 0:
            tables.append({"scope": wording.task_name(scope), "empty": value.pearson.unsupported})
            continue
        p = ""
        if not wording.missing(value.p):
            test = value.permutation
            kind = "all orderings counted" if test.exact else "orderings drawn at random"
            p = (
                f"Chance of agreement this good by luck (permutation test, {kind}): "
                f"{wording.p_value(test.p)} with {wording.plural(test.units, 'independent training run')} as units; "
                f"it cannot be below {floor_words(test.groups)} ({wording.p_value(test.floor)})."
            )
        tables.append(
            {
                "scope": wording.task_name(scope),
                "n": f"{wording.plural(value.points, 'rate')}, {wording.plural(value.policies, 'policy')}, "
                f"{wording.plural(value.families, 'independent training run')}",
                "measures": list(_measure_cells(value)),
                "p": p,
                "ties": wording.number(value.mmrv_paper, 3) if value.mmrv_paper != value.mmrv.value else "",
                "simpler": wording.number(value.pearson_simpler, 4),
                "remarks": value.remarks,
            }
        )
    return tables


def agreement_summary(report: Report, name: str) -> list[dict[str, str]]:
    """One line per scope with the four numbers that matter most."""
    rows = []
    for scope, value in report.by_set[name].items():
        if value.points == 0:
            continue
        row = {"scope": wording.task_name(scope), "n": f"{value.policies} / {value.families}"}
        for key, digits in (("pearson", 3), ("mmrv_within", 3), ("mae_points", 1)):
            measure: Measure = getattr(value, key)
            row[key] = wording.number(measure.value, digits)
            row[f"{key}_interval"] = (
                wording.interval(measure.low, measure.high, digits) or "interval unsupported"
            )
        row["p"] = wording.probability(value.p)
        row["floor"] = f"floor {wording.probability(value.permutation.floor)}"
        rows.append(row)
    return rows


def headline_cards(report: Report, name: str) -> list[dict[str, str]]:
    """The headline numbers of a set."""
    value = report.by_set[name]["pooled"]
    if value.points == 0:
        return []
    cards = []
    shown = (
        ("pearson", "Pearson r", 3),
        ("mmrv_within", "MMRV within tasks (0 is perfect)", 3),
        ("mae_points", "Mean absolute gap, points", 1),
    )
    for key, label, digits in shown:
        measure: Measure = getattr(value, key)
        spread = wording.interval(measure.low, measure.high, digits)
        cards.append(
            {
                "name": label,
                "value": wording.number(measure.value, digits),
                "under": f"95 %: {spread}" if spread else "interval unsupported",
                "n": f"{wording.plural(value.policies, 'policy')}, {value.points} rates",
            }
        )
    same = report.episode_agreement
    same = same[(same["set"] == name) & (same["task"] == "pooled")] if len(same) else same
    for row in same.itertuples():
        cards.append(
            {
                "name": "Same outcome, per episode",
                "value": wording.percent(row.rate),
                "under": f"95 %: {wording.percent_interval(row.low, row.high)}",
                "n": wording.count(row.same, row.episodes),
            }
        )
    return cards


def ranking_tables(report: Report, name: str) -> dict[str, Any]:
    ranking = report.ranking[name]
    rows = [
        {
            "place": str(place),
            "policy": row.policy,
            "rate": wording.percent(row.rate),
            "count": wording.count(row.successes, row.episodes),
            "interval": wording.percent_interval(row.low, row.high),
            "best": wording.chance(row.best),
            "letters": row.letters,
        }
        for place, row in enumerate(ranking.table.itertuples(), start=1)
    ]
    neighbours = [
        {
            "pair": f"{row.ahead} over {row.behind}",
            "difference": wording.points(100 * row.difference),
            "better": wording.chance(row.better),
            "p": wording.probability(row.p_family),
            "done": f"{row.done}",
            "needed": "already enough"
            if row.still_needed == 0
            else wording.episodes_needed(row.still_needed),
            "stopped": "" if wording.missing(row.stopped_at) else f"after {row.stopped_at:.0f}",
        }
        for row in ranking.neighbours.itertuples()
    ]
    paired = ranking.comparisons is not None and ranking.comparisons.paired
    return {"statement": ranking.statement, "rows": rows, "neighbours": neighbours, "paired": paired}


def powered_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "policy": row.policy,
            "task": wording.task_name(row.task),
            "trials": f"{row.real_trials} real, {row.further_starts} further simulated",
            "plain": wording.percent(row.plain),
            "plain_interval": wording.percent_interval(row.plain_low, row.plain_high),
            "rate": wording.percent(row.rate),
            "interval": wording.percent_interval(row.low, row.high),
        }
        for row in table.itertuples()
    ]


def corrected_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "policy": row.policy,
            "task": wording.task_name(row.task),
            "judged": wording.percent(row.sim_rate),
            "count": wording.count(row.sim_successes, row.sim_episodes),
            "corrected": wording.percent(row.corrected_rate),
            "interval": wording.percent_interval(row.corrected_low, row.corrected_high),
        }
        for row in table.itertuples()
    ]


def rate_rows(rows: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "number": str(row.number),
            "policy": row.policy,
            "family": row.family if row.family != row.policy else "",
            "task": wording.task_name(row.task),
            "sim": wording.percent(row.sim_rate),
            "sim_count": wording.count(row.sim_successes, row.sim_episodes),
            "sim_interval": wording.percent_interval(row.sim_low, row.sim_high),
            "real": wording.percent(row.real_rate),
            "real_count": ""
            if wording.missing(row.real_rate)
            else wording.count(row.real_successes, row.real_episodes),
            "real_interval": wording.percent_interval(row.real_low, row.real_high),
            "gap": wording.points(row.gap_points),
            "gap_interval": wording.interval(row.gap_low, row.gap_high, 0),
        }
        for row in rows.itertuples()
    ]


def pair_rows(pairs: pd.DataFrame) -> dict[str, Any]:
    wrong = pairs[pairs["order"] != "right"].sort_values("real_difference", ascending=False)
    shown = [
        {
            "task": wording.task_name(row.task),
            "pair": f"{row.better} over {row.worse}",
            "real": f"{wording.percent(row.real_better)} against {wording.percent(row.real_worse)}",
            "sim": f"{wording.percent(row.sim_better)} against {wording.percent(row.sim_worse)}",
            "certain": "yes" if row.real_certain else "no",
        }
        for row in wrong.head(MOST_WRONG_PAIRS).itertuples()
    ]
    return {"total": len(pairs), "wrong": len(wrong), "shown": shown, "more": max(len(wrong) - len(shown), 0)}


def episode_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "task": "all tasks" if row.task == "pooled" else wording.task_name(row.task),
            "same": f"{wording.percent(row.rate)} ({wording.count(row.same, row.episodes)})",
            "interval": wording.percent_interval(row.low, row.high),
            "false_success": f"{row.false_success:.0f}",
            "false_failure": f"{row.false_failure:.0f}",
            "chance": wording.percent(row.chance),
        }
        for row in table.itertuples()
    ]


def judge_rows(report: Report) -> list[dict[str, Any]]:
    rows = []
    for row in report.judge.to_dict("records"):
        cells = {key: row[key] for key in ("labels", "task", "episodes")}
        for key in ("true_success", "false_failure", "false_success", "true_failure"):
            cells[key] = f"{row[key]}"
        for key in ("sensitivity", "specificity", "balanced_accuracy"):
            known = not wording.missing(row[key])
            cells[key] = f"{100 * row[key]:.1f} %" if known else "no such episode labelled"
            cells[f"{key}_interval"] = wording.percent_interval(row[f"{key}_low"], row[f"{key}_high"])
        rows.append(cells)
    return rows
