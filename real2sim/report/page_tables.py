"""The page's tables: cells as text, each number with its count and interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from real2sim.report import wording
from real2sim.report.agreement import Agreement, Measure
from real2sim.report.answer import best_group, real_means
from real2sim.report.page_svg import interval_bars
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


def sort_key(value: float) -> str:
    """A number as the page's script sorts by it; empty where there is none."""
    return "" if wording.missing(value) else f"{value:.6g}"


def ranking_tables(report: Report, name: str) -> dict[str, Any]:
    """Rows of the ranking with the real mean over the same tasks, and its neighbours."""
    ranking = report.ranking[name]
    here = report.rates[report.rates["set"] == name]
    real = real_means(here, ranking.tasks)
    numbers = here.drop_duplicates("policy").set_index("policy")["number"]
    first = best_group(ranking)
    rows = []
    for place, row in enumerate(ranking.table.itertuples(), start=1):
        known = real.loc[row.policy] if row.policy in real.index else None
        rate, low, high = (math.nan if known is None else float(known[c]) for c in ("rate", "low", "high"))
        rows.append(
            {
                "place": str(place),
                "number": str(numbers[row.policy]),
                "policy": row.policy,
                "top": row.policy in first,
                "rate": wording.percent(row.rate),
                "rate_key": sort_key(row.rate),
                "count": wording.count(row.successes, row.episodes),
                "interval": wording.percent_interval(row.low, row.high),
                "real": wording.percent(rate),
                "real_key": sort_key(rate),
                "real_count": "" if known is None else wording.count(known["successes"], known["episodes"]),
                "real_interval": wording.percent_interval(low, high),
                "bars": interval_bars(("sim", row.rate, row.low, row.high), ("real", rate, low, high)),
                "best": wording.chance(row.best),
                "best_key": sort_key(row.best),
                "letters": row.letters,
            }
        )
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
    return {
        "statement": ranking.statement,
        "rows": rows,
        "measured": len(real) > 0,
        "tasks": [wording.task_name(task) for task in ranking.tasks],
        "neighbours": neighbours,
        "paired": paired,
    }


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
            "sim_key": sort_key(row.sim_rate),
            "real_key": sort_key(row.real_rate),
            "gap_key": sort_key(row.gap_points),
            "tint": gap_tint(row.gap_points),
            "bars": interval_bars(
                ("sim", row.sim_rate, row.sim_low, row.sim_high),
                ("real", row.real_rate, row.real_low, row.real_high),
            ),
        }
        for row in rows.itertuples()
    ]


def gap_tint(points: float) -> str:
    """Class of a gap's cell: sign and size in steps of ten points, up to four; empty below five points."""
    steps = 0 if wording.missing(points) else min(int(abs(points) / 10 + 0.5), 4)
    return f"{'over' if points > 0 else 'under'} t{steps}" if steps else ""


def length_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Agreement by length or horizon, one row per length."""
    return [
        {
            "length": row.length,
            "same": wording.percent(row.rate),
            "count": wording.count(row.same, row.episodes),
            "interval": wording.percent_interval(row.low, row.high),
            "bars": interval_bars(("real", row.rate, row.low, row.high)),
        }
        for row in table.itertuples()
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
