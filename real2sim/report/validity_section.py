"""The page's section on the validity gate: accepted shares, every rate three ways, and what that does to agreement."""

from __future__ import annotations

from typing import Any

import pandas as pd

from real2sim.report import wording
from real2sim.report.validity import TREATMENTS, OddsRatio, Validity, ratio_words

SHOWN = (
    ("pearson", "Pearson r", 3),
    ("mmrv", "MMRV", 3),
    ("mmrv_within", "MMRV within tasks", 3),
    ("mae_points", "Mean absolute gap, points", 1),
    ("bias_points", "Mean gap, points", 1),
)


def validity_section(found: Validity) -> dict[str, Any]:
    """What ``validity.html.j2`` says."""
    return {
        "measured": found.measured,
        "statement": found.statement,
        "sets": [_set(found, str(name)) for name in found.accepted["set"].unique()],
        "treatments": list(TREATMENTS.values()),
        "measures": [label for _, label, _ in SHOWN],
    }


def _set(found: Validity, name: str) -> dict[str, Any]:
    accepted, rates, together = (
        table[table["set"] == name] for table in (found.accepted, found.rates, found.agreement)
    )
    return {
        "name": wording.set_name(name),
        "accepted": [
            {
                "policy": row.policy,
                "share": wording.percent(row.share),
                "interval": wording.percent_interval(row.low, row.high),
                "count": wording.count(row.accepted, row.checked),
                "from": "" if wording.missing(row.invalid_from) else f"{row.invalid_from:.0f}",
            }
            for row in accepted.itertuples()
        ],
        "rates": [
            {"policy": policy, "task": wording.task_name(task), "cells": _rate_cells(group)}
            for (policy, task), group in rates.groupby(["policy", "task"], sort=False)
        ],
        "agreement": [
            {
                "treatment": TREATMENTS[row["treatment"]],
                "n": f"{wording.plural(int(row['policies']), 'policy')}, {wording.plural(int(row['points']), 'rate')}",
                "cells": [
                    {
                        "value": wording.number(row[key], digits),
                        "interval": wording.interval(row[f"{key}_low"], row[f"{key}_high"], digits),
                    }
                    for key, _, digits in SHOWN
                ],
            }
            for row in together.to_dict("records")
        ],
        "endings": _endings(found.endings, name),
    }


def _rate_cells(group: pd.DataFrame) -> list[dict[str, str]]:
    by_treatment = {row.treatment: row for row in group.itertuples()}
    return [
        {
            "rate": wording.percent(by_treatment[name].rate),
            "count": wording.count(by_treatment[name].successes, by_treatment[name].episodes),
            "interval": wording.percent_interval(by_treatment[name].low, by_treatment[name].high),
        }
        for name in TREATMENTS
    ]


def _endings(table: pd.DataFrame, name: str) -> str:
    rows = table[table["set"] == name].to_dict("records") if len(table) else []
    if not rows:
        return ""
    row = rows[0]
    found = OddsRatio(row["ratio"], row["low"], row["high"], row["p"])
    odds = (
        ""
        if wording.missing(found.ratio)
        else f" Odds ratio {ratio_words(found)}, {wording.p_value(found.p)}."
    )
    return (
        "Of the invalid episodes with a real one of the same start "
        f"{wording.count(row['invalid_differ'], row['invalid'])} ended differently in reality, of the valid ones "
        f"{wording.count(row['valid_differ'], row['valid'])}.{odds} "
        "Policies that draw random numbers also end differently by chance, alike in both groups."
    )
