"""Everything a report says, and the files it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from real2sim.files import writing
from real2sim.files_together import without_new_folders, write_together
from real2sim.report.agreement import Agreement
from real2sim.report.gaps import LengthTrust
from real2sim.report.ranking import Ranking
from real2sim.report.validity import Validity
from real2sim.report.verdict import Verdict


@dataclass(frozen=True)
class Report:
    """Everything a report says, as pandas frames and plain numbers; ``write`` makes the files."""

    title: str
    real_name: str
    verdicts: dict[str, Verdict]
    """Per set of policies; the first is the main set."""
    rates: pd.DataFrame
    """One row per set, policy and task: both rates with counts and intervals, the gap, the plot number."""
    agreement: pd.DataFrame
    """One row per set, scope (pooled, task average, each task) and measure."""
    by_set: dict[str, dict[str, Agreement]]
    """The same as objects, with p-values and noise ceilings."""
    ranking: dict[str, Ranking]
    """Per set: the ranking in the simulator, with letters and pairwise tests."""
    pairs: pd.DataFrame
    """Every pair of policies that differ in reality, and whether simulation orders it right."""
    episode_agreement: pd.DataFrame
    """Paired episodes with the same outcome, per set, pooled and per task."""
    worst: pd.DataFrame
    """Paired episodes with opposite outcomes behind the largest gaps."""
    by_length: dict[str, LengthTrust]
    prediction_powered: pd.DataFrame
    """Real rates estimated from real trials and further simulated starts together."""
    prediction_powered_note: str
    no_verdict: pd.DataFrame
    """Simulated episodes and those without a verdict, per set, policy and task."""
    unclear: str
    """What those without a verdict are: "exclude" (left out of every rate) or "failure"."""
    judge: pd.DataFrame
    """Confusion counts and rates of the judge, per set of labels."""
    corrected: pd.DataFrame
    """Simulated rates corrected for the judge's errors."""
    judge_warnings: tuple[str, ...]
    remarks: tuple[str, ...]
    validity: Validity
    """What episodes that a validity gate refuses do to the numbers."""
    metrics: dict[str, Any]
    provenance: dict[str, str]
    episodes: pd.DataFrame = field(repr=False)
    frames: Callable[[str], np.ndarray] | None = field(repr=False, default=None)

    @property
    def verdict(self) -> str:
        """The first paragraph of the page."""
        return (
            next(iter(self.verdicts.values())).text
            if self.verdicts
            else "There are no episodes to report on."
        )

    def write(self, out: Path | str) -> Path:
        """Write report.html, report.csv, metrics.json and figures/; gives the path of the page."""
        from real2sim.report.page import render_page
        from real2sim.report.page_figures import draw_figures

        folder = Path(out)
        with without_new_folders(folder / "figures"):
            with writing(folder):
                (folder / "figures").mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            page = {
                "report.html": render_page(self, folder).encode(),
                "metrics.json": text.encode(),
                "report.csv": self.rates.to_csv(index=False).encode(),
            }
            figures = {f"figures/{name}": content for name, content in draw_figures(self).items()}
            write_together({folder / name: content for name, content in (page | figures).items()})
        return folder / "report.html"
