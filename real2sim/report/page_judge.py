"""The page's tables about verdicts: the judge's errors, rates corrected for them, and episodes without a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from real2sim.report import wording
from real2sim.report.page_tables import sort_key

if TYPE_CHECKING:
    from real2sim.report.result import Report


def no_verdict_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Policies and tasks with episodes that have no verdict, most first, and their sum."""
    silent = table[table["no_verdict"] > 0].sort_values("no_verdict", ascending=False, kind="stable")
    return [
        {
            "policy": row.policy,
            "task": wording.task_name(row.task),
            "count": f"{row.no_verdict} of {row.episodes}",
            "share": wording.percent(row.no_verdict / row.episodes),
            "key": sort_key(row.no_verdict / row.episodes),
        }
        for row in silent.itertuples()
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
