"""The page: one HTML file that needs nothing else, made from a report's frames.

Only wording and layout happen here; every number comes from the report.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import jinja2

from real2sim.report import wording
from real2sim.report.page_figures import Figures, set_figures, set_strips, slug
from real2sim.report.page_tables import (
    agreement_summary,
    agreement_tables,
    corrected_rows,
    episode_rows,
    headline_cards,
    judge_rows,
    pair_rows,
    powered_rows,
    ranking_tables,
    rate_rows,
)
from real2sim.report.validity_section import validity_section

if TYPE_CHECKING:
    from real2sim.report.result import Report


def _episodes(total: float) -> str:
    return "simulated episodes not counted" if wording.missing(total) else f"{total:.0f} simulated episodes"


def render_page(report: Report) -> tuple[str, dict[str, bytes]]:
    """The page (HTML) and the files for ``figures/`` (name -> content)."""
    figures = Figures()
    sections, remarks = [], list(report.remarks)
    for name, said in report.verdicts.items():
        rows = report.rates[report.rates["set"] == name]
        strips, more = set_strips(report, name)
        remarks += [remark for remark in more if remark not in remarks]
        same = report.episode_agreement
        sections.append(
            {
                "name": wording.task_name(name),
                "id": slug(name),
                "verdict": said,
                "cards": headline_cards(report, name),
                "summary": agreement_summary(report, name),
                "agreement": agreement_tables(report, name),
                "ranking": ranking_tables(report, name),
                "rates": rate_rows(rows),
                "pairs": pair_rows(report.pairs[report.pairs["set"] == name]),
                "episodes": episode_rows(same[same["set"] == name]) if len(same) else [],
                "length": report.by_length[name],
                "counts": f"{wording.plural(rows['policy'].nunique(), 'policy')}, "
                f"{wording.plural(rows['task'].nunique(), 'task')}, "
                + _episodes(rows["sim_episodes"].sum(skipna=False)),
                **set_figures(report, name, rows, figures),
                **strips,
            }
        )
    templates = resources.files("real2sim.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string((templates / "page.html.j2").read_text(encoding="utf-8")).render(
        title=report.title,
        real_name=report.real_name,
        style=(templates / "page.css").read_text(encoding="utf-8"),
        sections=sections,
        judge=judge_rows(report),
        corrected=corrected_rows(report.corrected),
        corrected_by=report.judge["labels"].iloc[-1] if len(report.judge) else "",
        powered=powered_rows(report.prediction_powered),
        powered_note=report.prediction_powered_note,
        judge_warnings=report.judge_warnings,
        validity=validity_section(report.validity),
        remarks=remarks,
        provenance=report.provenance,
        no_strips=report.frames is None,
    )
    return page, figures.files
