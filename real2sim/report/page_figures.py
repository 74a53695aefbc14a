"""The page's figures: drawn once, kept as PNG and SVG for the folder, and inlined into the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from real2sim.report import wording
from real2sim.report.film_strips import FilmStrip, make_strips, success_and_failure
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


class Figures:
    """Figures drawn so far: as files for the folder and as images for the page."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def draw(
        self, name: str, size: tuple[float, float], alt: str, plot: Callable[[Axes], Any]
    ) -> dict[str, str]:
        """Draw once; keep PNG and SVG; give the image for the page."""
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
        return {"src": data_uri(self.files[f"{name}.svg"], "image/svg+xml"), "alt": alt}


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-") or "set"


def set_figures(report: Report, name: str, rows: pd.DataFrame, figures: Figures) -> dict[str, Any]:
    tasks, name_part = list(dict.fromkeys(rows["task"])), slug(name)
    label = report.real_name
    scatters, rate_plots = [], []
    for task in tasks:
        part = rows[rows["task"] == task]
        both = part[part["real_rate"].notna()]
        value = report.by_set[name][task]
        said = f"Pearson r {wording.number(value.pearson.value)}" if len(both) else "nothing to compare"
        scatters.append(
            figures.draw(
                f"scatter-{name_part}-{slug(task)}",
                (4.4, 4.5),
                f"Scatter of simulated over {label} success on {task}, "
                f"{wording.plural(len(both), 'policy')}: {said}.",
                partial(plot_scatter, part, real_name=label, title=wording.task_name(task)),
            )
        )
        rate_plots.append(
            figures.draw(
                f"rates-{name_part}-{slug(task)}",
                (4.9, 1.5 + 0.34 * len(part)),
                f"Success rates on {task} with 95 % intervals, simulated and {label}; the numbers are in the "
                f"table.",
                partial(plot_rates, part, real_name=label, title=wording.task_name(task)),
            )
        )
    heat = None
    if rows["gap_points"].notna().any():
        heat = figures.draw(
            f"gaps-{name_part}",
            (min(2.6 + 0.9 * len(tasks), 9.0), 1.2 + 0.34 * rows["policy"].nunique()),
            "Heat map of simulated minus real success rate in points, policies down, tasks across; the "
            "numbers are "
            "in the table of rates.",
            lambda ax: plot_gaps(rows, ax),
        )
    length, length_figure = report.by_length[name], None
    if len(length.table):
        length_figure = figures.draw(
            f"length-{name_part}",
            (4.9, 3.2),
            f"Share of episodes with the same outcome as in reality by episode length. {length.statement}",
            lambda ax: plot_by_length(length.table, ax),
        )
    return {"scatters": scatters, "rate_plots": rate_plots, "heat": heat, "length_figure": length_figure}


def _strip_views(strips: list[FilmStrip]) -> list[dict[str, str]]:
    return [
        {"policy": s.policy, "caption": s.caption, "src": data_uri(s.png, "image/png"), "alt": s.alt}
        for s in strips
    ]


def set_strips(report: Report, name: str) -> tuple[dict[str, Any], list[str]]:
    if report.frames is None:
        return {"strips": [], "worst": []}, []
    episodes = report.episodes[report.episodes["set"] == name]
    chosen = success_and_failure(episodes)
    places = report.rates[report.rates["set"] == name].drop_duplicates("policy").set_index("policy")["number"]
    chosen = chosen.iloc[chosen["policy"].map(places).argsort(kind="stable")]
    strips, remarks = make_strips(chosen, report.frames)
    worst = report.worst[report.worst["set"] == name] if len(report.worst) else report.worst
    captions = [
        f"{wording.task_name(row.task)}, start {row.start}: simulated "
        f"{'success' if row.success else 'failure'}, "
        f"in reality {'success' if row.real_success >= 0.5 else 'failure'}"
        for row in worst.itertuples()
    ]
    worst_strips, more = make_strips(worst, report.frames, captions)
    return {"strips": _strip_views(strips), "worst": _strip_views(worst_strips)}, remarks + more
