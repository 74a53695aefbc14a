"""The page: one HTML file that needs nothing else, made from a report's frames.

Only wording and layout happen here; every number comes from the report.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from real2sim.report import wording
from real2sim.report.agreement import Agreement, Measure
from real2sim.report.film_strips import FilmStrip, make_strips, success_and_failure
from real2sim.report.plots import plot_by_length, plot_gaps, plot_rates, plot_scatter

if TYPE_CHECKING:
    from real2sim.report.report import Report

STYLE = {
    "svg.hashsalt": "real2sim",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": "#9ca3af",
    "text.color": "#1f2937",
    "axes.labelcolor": "#1f2937",
}
MOST_WRONG_PAIRS = 12
MEASURE_NAMES = {
    "pearson": ("Pearson r", 3),
    "spearman": ("Spearman ρ", 3),
    "kendall": ("Kendall τ-b", 3),
    "mmrv": ("MMRV", 3),
    "mae_points": ("Mean absolute gap, points", 1),
    "bias_points": ("Mean gap (sim − real), points", 1),
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


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-") or "set"


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


def _agreement_tables(report: Report, name: str) -> list[dict[str, Any]]:
    tables = []
    for scope, value in report.by_set[name].items():
        if value.points == 0:
            tables.append({"scope": wording.task_name(scope), "empty": value.pearson.unsupported})
            continue
        p = ""
        if not wording.missing(value.p):
            kind = "all orderings counted" if value.p_exact else "orderings drawn at random"
            p = (
                f"Chance of agreement this good by luck (permutation test, {kind}): p = "
                f"{wording.probability(value.p)} "
                f"with {wording.plural(value.families, 'independent policy')} as units; "
                f"the smallest p possible is {wording.probability(value.p_floor)}."
            )
        tables.append(
            {
                "scope": wording.task_name(scope),
                "n": f"{wording.plural(value.points, 'rate')}, {wording.plural(value.policies, 'policy')}, "
                f"{wording.plural(value.families, 'independent training run')}",
                "measures": list(_measure_cells(value)),
                "p": p,
                "bootstrap": wording.interval(value.bootstrap_low, value.bootstrap_high, 3),
                "simpler": wording.number(value.pearson_simpler, 4),
                "remarks": value.remarks,
            }
        )
    return tables


def _summary(report: Report, name: str) -> list[dict[str, str]]:
    """One line per scope with the four numbers that matter most."""
    rows = []
    for scope, value in report.by_set[name].items():
        if value.points == 0:
            continue
        row = {"scope": wording.task_name(scope), "n": f"{value.policies} / {value.families}"}
        for key, digits in (("pearson", 3), ("mmrv", 3), ("mae_points", 1)):
            measure: Measure = getattr(value, key)
            row[key] = wording.number(measure.value, digits)
            row[f"{key}_interval"] = (
                wording.interval(measure.low, measure.high, digits) or "interval unsupported"
            )
        row["p"] = wording.probability(value.p)
        row["floor"] = f"floor {wording.probability(value.p_floor)}"
        rows.append(row)
    return rows


def _cards(report: Report, name: str) -> list[dict[str, str]]:
    """The headline numbers of a set."""
    value = report.by_set[name]["pooled"]
    if value.points == 0:
        return []
    cards = []
    shown = (
        ("pearson", "Pearson r", 3),
        ("mmrv", "MMRV (0 is perfect)", 3),
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


def _ranking(report: Report, name: str) -> dict[str, Any]:
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
            "p": wording.probability(row.p),
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


def _powered_rows(table: pd.DataFrame) -> list[dict[str, str]]:
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


def _corrected_rows(table: pd.DataFrame) -> list[dict[str, str]]:
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


def _rate_rows(rows: pd.DataFrame) -> list[dict[str, str]]:
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


def _set_figures(report: Report, name: str, rows: pd.DataFrame, figures: Figures) -> dict[str, Any]:
    tasks, slug = list(dict.fromkeys(rows["task"])), _slug(name)
    label = report.real_name
    scatters, rate_plots = [], []
    for task in tasks:
        part = rows[rows["task"] == task]
        both = part[part["real_rate"].notna()]
        value = report.by_set[name][task]
        said = f"Pearson r {wording.number(value.pearson.value)}" if len(both) else "nothing to compare"
        scatters.append(
            figures.draw(
                f"scatter-{slug}-{_slug(task)}",
                (4.4, 4.5),
                f"Scatter of simulated over {label} success on {task}, "
                f"{wording.plural(len(both), 'policy')}: {said}.",
                lambda ax, part=part, task=task: plot_scatter(part, ax, label, wording.task_name(task)),
            )
        )
        rate_plots.append(
            figures.draw(
                f"rates-{slug}-{_slug(task)}",
                (4.9, 1.5 + 0.34 * len(part)),
                f"Success rates on {task} with 95 % intervals, simulated and {label}; the numbers are in the "
                f"table.",
                lambda ax, part=part, task=task: plot_rates(part, ax, label, wording.task_name(task)),
            )
        )
    heat = None
    if rows["gap_points"].notna().any():
        heat = figures.draw(
            f"gaps-{slug}",
            (min(2.6 + 0.9 * len(tasks), 9.0), 1.2 + 0.34 * rows["policy"].nunique()),
            "Heat map of simulated minus real success rate in points, policies down, tasks across; the "
            "numbers are "
            "in the table of rates.",
            lambda ax: plot_gaps(rows, ax),
        )
    length, length_figure = report.by_length[name], None
    if len(length.table):
        length_figure = figures.draw(
            f"length-{slug}",
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


def _strips(report: Report, name: str) -> tuple[dict[str, Any], list[str]]:
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


def _pair_rows(pairs: pd.DataFrame) -> dict[str, Any]:
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


def _episode_rows(table: pd.DataFrame) -> list[dict[str, str]]:
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


def _judge_rows(report: Report) -> list[dict[str, Any]]:
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


def render_page(report: Report) -> tuple[str, dict[str, bytes]]:
    """The page (HTML) and the files for ``figures/`` (name -> content)."""
    figures = Figures()
    sections, remarks = [], list(report.remarks)
    for name, said in report.verdicts.items():
        rows = report.rates[report.rates["set"] == name]
        strips, more = _strips(report, name)
        remarks += [remark for remark in more if remark not in remarks]
        same = report.episode_agreement
        sections.append(
            {
                "name": name,
                "id": _slug(name),
                "verdict": said,
                "cards": _cards(report, name),
                "summary": _summary(report, name),
                "agreement": _agreement_tables(report, name),
                "ranking": _ranking(report, name),
                "rates": _rate_rows(rows),
                "pairs": _pair_rows(report.pairs[report.pairs["set"] == name]),
                "episodes": _episode_rows(same[same["set"] == name]) if len(same) else [],
                "length": report.by_length[name],
                "counts": f"{wording.plural(rows['policy'].nunique(), 'policy')}, "
                f"{wording.plural(rows['task'].nunique(), 'task')}, "
                f"{int(rows['sim_episodes'].sum())} simulated episodes",
                **_set_figures(report, name, rows, figures),
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
        judge=_judge_rows(report),
        corrected=_corrected_rows(report.corrected),
        corrected_by=report.judge["labels"].iloc[-1] if len(report.judge) else "",
        powered=_powered_rows(report.prediction_powered),
        powered_note=report.prediction_powered_note,
        judge_warnings=report.judge_warnings,
        remarks=remarks,
        provenance=report.provenance,
        no_strips=report.frames is None,
    )
    return page, figures.files
