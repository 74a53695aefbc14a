"""The page: one HTML file that needs nothing else, made from a report's frames.

Only wording and layout happen here; every number comes from the report.  A section is a template of its own in
``templates/`` that is given the values named here; ``page.html.j2`` puts them in order.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from real2sim.report import wording
from real2sim.report.answer import answer
from real2sim.report.page_figures import slug
from real2sim.report.page_films import set_films
from real2sim.report.page_judge import corrected_rows, judge_rows, no_verdict_rows, powered_rows
from real2sim.report.page_sets import side_by_side
from real2sim.report.page_svg import scatter
from real2sim.report.page_tables import (
    agreement_summary,
    agreement_tables,
    episode_rows,
    headline_cards,
    length_rows,
    pair_rows,
    ranking_tables,
    rate_rows,
)
from real2sim.report.scopes import POOLED
from real2sim.report.validity_section import validity_section

if TYPE_CHECKING:
    import pandas as pd

    from real2sim.report.result import Report


def render_page(report: Report, folder: Path | None = None) -> str:
    """The page as HTML.  ``folder`` is where it will lie, for links to the episodes' files."""
    remarks, sets = list(report.remarks), []
    for name in report.verdicts:
        values, more = _set(report, name, folder)
        sets.append(values)
        remarks += [remark for remark in more if remark not in remarks]
    style, script = _text("page.css"), _text("page.js")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return environment.get_template("page.html.j2").render(
        title=report.title,
        reality=report.real_name.removeprefix("real = "),
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sets=sets,
        side=side_by_side(report),
        remarks=remarks,
        judge=judge_rows(report),
        no_verdict=no_verdict_rows(report.no_verdict),
        unclear_words="counted as failures" if report.unclear == "failure" else "left out of every rate",
        validity=validity_section(report.validity),
        corrected=corrected_rows(report.corrected),
        corrected_by=report.judge["labels"].iloc[-1] if len(report.judge) else "",
        powered=powered_rows(report.prediction_powered),
        powered_note=report.prediction_powered_note,
        judge_warnings=report.judge_warnings,
        provenance=report.provenance,
        no_films=report.frames is None,
        files=folder is not None,
    )


def _text(name: str) -> str:
    return (resources.files("real2sim.report") / "templates" / name).read_text(encoding="utf-8")


def _episodes(total: float) -> str:
    return "simulated episodes not counted" if wording.missing(total) else f"{total:.0f} simulated episodes"


def _set(report: Report, name: str, folder: Path | None) -> tuple[dict[str, Any], list[str]]:
    """What the templates say of one set of policies, and remarks on films that could not be made."""
    rows = report.rates[report.rates["set"] == name]
    films, remarks = set_films(report, name, folder)
    same = report.episode_agreement
    return {
        "name": wording.set_name(name),
        "id": slug(name),
        "verdict": report.verdicts[name],
        "answer": answer(report, name),
        "cards": headline_cards(report, name),
        "summary": agreement_summary(report, name),
        "agreement": agreement_tables(report, name),
        "ranking": ranking_tables(report, name),
        "rates": rate_rows(rows),
        "scatters": _scatters(report, name, rows),
        "pairs": pair_rows(report.pairs[report.pairs["set"] == name]),
        "episodes": episode_rows(same[same["set"] == name]) if len(same) else [],
        "length": report.by_length[name].statement,
        "lengths": length_rows(report.by_length[name].table),
        "r": wording.number(report.by_set[name][POOLED].pearson.value, 3),
        "counts": f"{wording.plural(rows['policy'].nunique(), 'policy')}, "
        f"{wording.plural(rows['task'].nunique(), 'task')}, "
        + _episodes(rows["sim_episodes"].sum(skipna=False)),
        **films,
    }, remarks


def _scatters(report: Report, name: str, rows: pd.DataFrame) -> list[dict[str, str]]:
    found = []
    for task in dict.fromkeys(rows["task"]):
        part = rows[rows["task"] == task]
        both = int(part["real_rate"].notna().sum())
        r = wording.number(report.by_set[name][task].pearson.value)
        label = (
            f"Scatter of simulated over {report.real_name} success on {wording.task_name(task)}, "
            f"{wording.plural(both, 'policy')}: Pearson r {r}."
        )
        found.append({"task": wording.task_name(task), "svg": scatter(part, report.real_name, label)})
    return found
