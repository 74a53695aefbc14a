"""The page of `real2sim validate`, one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources

import jinja2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from real2sim.report import wording
from real2sim.report.film_strips import film_strip, png_bytes
from real2sim.report.page_figures import Figures
from real2sim.report.page_films import data_uri
from real2sim.report.plots import plot_by_length
from real2sim.report.validation import GOOD, USABLE, Validation


def validation_page(found: Validation, pairs: Sequence[tuple[str, np.ndarray, np.ndarray]] = ()) -> str:
    """The page; ``pairs`` are captions with recorded and drawn frames uint8 (t h w 3), shown one above the other."""
    templates = resources.files("real2sim.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    grade, headline, words = found.verdict
    frames = _figure(
        (5.2, 3.2),
        "Mean PSNR of drawn frames and of the repeated start frame against the recording, per step",
        lambda ax: plot_error(found.error, ax),
    )
    horizon = None
    if found.horizon is not None:
        table = found.horizon.table
        horizon = _figure(
            (5.2, 3.4),
            "Share of replays with the same verdict as the recording, per number of steps",
            lambda ax: _plot_horizon(table, ax),
        )
    return environment.from_string((templates / "validation.html.j2").read_text(encoding="utf-8")).render(
        style=(templates / "page.css").read_text(encoding="utf-8"),
        found=found,
        grade=grade,
        headline=headline,
        words=words,
        good=wording.percent(GOOD),
        usable=wording.percent(USABLE),
        frames=frames,
        horizon=horizon,
        outcomes=_outcome_rows(found),
        consistency=[] if found.consistency is None else found.consistency.round(2).to_dict("records"),
        pairs=[(caption, _strip(recorded), _strip(drawn)) for caption, recorded, drawn in pairs],
    )


def plot_error(error: pd.DataFrame, ax: Axes) -> None:
    """PSNR of drawn frames and of the repeated start frame over the steps."""
    ax.plot(error["step"], error["drawn"], color="#c2410c", label="drawn")
    ax.plot(error["step"], error["still"], color="#6b7280", linestyle="--", label="start frame, repeated")
    ax.set_xlabel("step")
    ax.set_ylabel("PSNR against the recording, dB")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


def _plot_horizon(table: pd.DataFrame, ax: Axes) -> None:
    plot_by_length(table, ax)


def _outcome_rows(found: Validation) -> list[dict[str, str]]:
    if found.outcomes is None:
        return []
    return [
        {
            "what": what,
            "same": f"{wording.percent(share['rate'])} ({wording.count(share['same'], share['n'])})",
            "interval": wording.percent_interval(share["low"], share["high"]),
        }
        for what, share in (
            ("Drawn video, judged", found.outcomes.agreement),
            ("Recorded video, judged: the judge's own error", found.outcomes.judge_alone),
        )
    ]


def _figure(size: tuple[float, float], alt: str, plot: Callable[[Axes], None]) -> dict[str, str]:
    figures = Figures()
    figures.draw("figure", size, plot)
    return {"src": data_uri(figures.files["figure.svg"], "image/svg+xml"), "alt": alt}


def _strip(frames: np.ndarray) -> str:
    return data_uri(png_bytes(film_strip(frames)), "image/png")
