"""The figures of the folder, for papers and slides: each as PNG and as SVG.

The page draws its own, which follow its colours and its width (`real2sim.report.page_svg`).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from real2sim.report import wording
from real2sim.report.plots import plot_by_length, plot_gaps, plot_rates, plot_scatter

if TYPE_CHECKING:
    from real2sim.report.result import Report

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "real2sim",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": "#9ca3af",
    "text.color": "#1f2937",
    "axes.labelcolor": "#1f2937",
}
MOST_POLICIES = 60
"""Policies that a figure with a row for each shows; the table has all of them."""


class Figures:
    """Figures drawn so far: file name -> content."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def draw(self, name: str, size: tuple[float, float], plot: Callable[[Axes], Any]) -> None:
        """Draw once, and keep it as PNG and SVG."""
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=size, layout="constrained")
            plot(figure.add_subplot())
            for kind in ("svg", "png"):
                buffer = io.BytesIO()
                options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 160}
                figure.savefig(buffer, format=kind, **options)
                # The second kind keeps the first one's layout, which is half of the drawing time.
                figure.set_layout_engine("none")
                self.files[f"{name}.{kind}"] = buffer.getvalue()


def slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-") or "set"


def draw_figures(report: Report) -> dict[str, bytes]:
    """The figures of every set for the folder, as PNG and as SVG: file name -> content."""
    figures = Figures()
    for name in report.verdicts:
        rows, part = report.rates[report.rates["set"] == name], slug(name)
        _rate_figures(report, rows, part, figures)
        tasks = rows["task"].nunique()
        if rows["gap_points"].notna().any():
            first = rows[rows["number"] <= MOST_POLICIES]
            size = (min(2.6 + 0.9 * tasks, 9.0), 1.2 + 0.34 * first["policy"].nunique())
            figures.draw(f"gaps-{part}", size, partial(plot_gaps, first))
        length = report.by_length[name]
        if len(length.table):
            figures.draw(f"length-{part}", (4.9, 3.2), partial(plot_by_length, length.table))
    return figures.files


def _rate_figures(report: Report, rows: pd.DataFrame, part: str, figures: Figures) -> None:
    for task in dict.fromkeys(rows["task"]):
        here, title = rows[rows["task"] == task], wording.task_name(task)
        scatter = partial(plot_scatter, here, real_name=report.real_name, title=title)
        figures.draw(f"scatter-{part}-{slug(task)}", (4.4, 4.5), scatter)
        first = here[here["number"] <= MOST_POLICIES]
        title += f" (first {len(first)} of {len(here)} policies)" if len(first) < len(here) else ""
        rates = partial(plot_rates, first, real_name=report.real_name, title=title)
        figures.draw(f"rates-{part}-{slug(task)}", (4.9, 1.5 + 0.34 * len(first)), rates)
