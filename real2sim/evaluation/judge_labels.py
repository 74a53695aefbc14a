"""What labels of a run's own episodes say about the judge that scored it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from real2sim.success.compared import read_comparison, unproven

if TYPE_CHECKING:
    import pandas as pd

CELLS = (
    ("true_success", True, True),
    ("false_success", False, True),
    ("true_failure", False, False),
    ("false_failure", True, False),
)
"""Count in a comparison, what the label says, what the judge says."""


def labelled_in_runs(runs: tuple[Path, ...], episodes: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Labelled episodes of some runs (``label``, ``success``, ``task``), as `real2sim score --labels` compared them."""
    import pandas as pd

    rows = [
        {"label": label, "success": verdict, "task": task}
        for known in _comparisons(runs, episodes)
        for task, counts in (known.get("labelled") or {}).items()
        if task != "all"
        for cell, label, verdict in CELLS
        for _ in range(counts[cell])
    ]
    return [("labelled episodes of these runs", pd.DataFrame(rows))] if rows else []


def unproven_judges(runs: tuple[Path, ...], episodes: pd.DataFrame) -> list[str]:
    """What a reader has to know of verdicts by models that too few labels back."""
    said = [unproven(run, judge, digests) for run, judge, digests in _scored_by(runs, episodes)]
    return [sentence for sentence in said if sentence]


def _comparisons(runs: tuple[Path, ...], episodes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for run, judge, digests in _scored_by(runs, episodes):
        known = read_comparison(run, judge)
        if {known.get("judge_digest")} == digests:
            yield known


def _scored_by(runs: tuple[Path, ...], episodes: pd.DataFrame) -> Iterator[tuple[Path, str, set[str]]]:
    for run in runs:
        own = episodes[episodes["run"] == str(run)]
        digests = set(own["judge_digest"].dropna()) if "judge_digest" in own else set()
        for judge in own["judge"].dropna().unique():
            yield run, str(judge), digests
