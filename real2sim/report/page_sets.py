"""Sets of policies side by side: the same policies in two worlds or two runs, or other policies in one world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from real2sim.report import wording
from real2sim.report.answer import answer
from real2sim.report.page_svg import interval_bars
from real2sim.report.page_tables import sort_key
from real2sim.report.scopes import POOLED

if TYPE_CHECKING:
    from real2sim.report.result import Report


def side_by_side(report: Report) -> dict[str, Any]:
    """Tables for a page with several sets; empty for one set.

    ``sets``: verdict, best policy and agreement of each.  ``rates``: for each policy and task that at least two sets
    have, the simulated rate in each of them beside the real one.
    """
    names = list(report.verdicts)
    if len(names) < 2:
        return {}
    return {
        "names": [wording.set_name(name) for name in names],
        "sets": [_summary(report, name) for name in names],
        "rates": _shared(report, names),
    }


def _summary(report: Report, name: str) -> dict[str, Any]:
    found, value = answer(report, name), report.by_set[name][POOLED]
    return {
        "name": wording.set_name(name),
        "grade": report.verdicts[name].grade,
        "best": found.best_words,
        "headline": report.verdicts[name].headline,
        "measures": [
            {
                "value": wording.number(measure.value, digits),
                "interval": wording.interval(measure.low, measure.high, digits),
            }
            for measure, digits in ((value.pearson, 3), (value.mmrv_within, 3), (value.mae_points, 1))
        ],
        "policies": f"{value.policies}",
    }


def _shared(report: Report, names: list[str]) -> list[dict[str, Any]]:
    rates = report.rates
    cells = {(row["set"], row["policy"], row["task"]): row for row in rates.to_dict("records")}
    rows = []
    for policy, task in dict.fromkeys(zip(rates["policy"], rates["task"], strict=True)):
        here = [cells.get((name, policy, task)) for name in names]
        if sum(cell is not None for cell in here) < 2:
            continue
        known = next(cell for cell in here if cell is not None)
        rows.append(
            {
                "policy": policy,
                "task": wording.task_name(task),
                "real": wording.percent(known["real_rate"]),
                "real_key": sort_key(known["real_rate"]),
                "sims": [_cell(cell) for cell in here],
                "bars": interval_bars(
                    *(
                        ("sim", cell["sim_rate"], cell["sim_low"], cell["sim_high"])
                        for cell in here
                        if cell is not None
                    ),
                    ("real", known["real_rate"], known["real_low"], known["real_high"]),
                ),
            }
        )
    return rows


def _cell(cell: dict[str, Any] | None) -> dict[str, str]:
    if cell is None:
        return {"rate": "not run", "key": "", "count": "", "gap": ""}
    gap = cell["gap_points"]
    return {
        "rate": wording.percent(cell["sim_rate"]),
        "key": sort_key(cell["sim_rate"]),
        "count": wording.count(cell["sim_successes"], cell["sim_episodes"]),
        "gap": "" if wording.missing(gap) else f"{wording.points(gap)} points",
    }
