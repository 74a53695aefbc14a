"""The report: statistics of a run beside reality, as frames, as numbers, and as one page.

``report`` is what the command line and a notebook call; everything it does is a call to a module beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from real2sim.report.agreement import Agreement
from real2sim.report.film_strips import frames_by_column
from real2sim.report.gaps import (
    LengthTrust,
    agreement_by_length,
    episode_agreement,
    pair_episodes,
    policy_pairs,
    worst_episodes,
)
from real2sim.report.inputs import name_remarks, read_rates, read_real_episodes, read_simulated
from real2sim.report.judge_error import (
    JudgeError,
    corrected_rates,
    judge_errors,
    rank_changes,
    why_uncorrected,
)
from real2sim.report.metrics import agreement_frame, report_metrics
from real2sim.report.prediction_powered import prediction_powered_rates
from real2sim.report.ranking import Ranking, rank
from real2sim.report.rates import compare_rates, success_rates
from real2sim.report.scopes import POOLED, numbered, scopes
from real2sim.report.verdict import Verdict, verdict


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
    judge: pd.DataFrame
    """Confusion counts and rates of the judge, per set of labels."""
    corrected: pd.DataFrame
    """Simulated rates corrected for the judge's errors."""
    judge_warnings: tuple[str, ...]
    remarks: tuple[str, ...]
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

        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        page, figures = render_page(self)
        (folder / "figures").mkdir(exist_ok=True)
        for name, content in figures.items():
            _replace(folder / "figures" / name, content)
        _replace(folder / "report.csv", self.rates.to_csv(index=False).encode())
        text = json.dumps(self.metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        _replace(folder / "metrics.json", text.encode())
        _replace(folder / "report.html", page.encode())
        return folder / "report.html"


def _replace(path: Path, content: bytes) -> None:
    """Write through a sibling, so that a stopped process leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def report(
    episodes: pd.DataFrame,
    real: pd.DataFrame | Path | None = None,
    *,
    real_episodes: pd.DataFrame | Path | None = None,
    judge_labels: Sequence[tuple[str, pd.DataFrame]] | None = None,
    frames: Callable[[str], np.ndarray] | None = None,
    out: Path | str | None = None,
    title: str = "Simulated against real success",
    real_name: str = "real",
    provenance: Mapping[str, str] | None = None,
) -> Report:
    """How far simulated success agrees with real success, and how much that proves.

    Args:
        episodes: one row per scored simulated episode: policy, task, success; also used where present: set,
            family, episode, start, seed, probability, steps, frame_passes, video (path of the episode's npz).
            A table of rates (policy, task, success_rate, n_trials) is taken as well, with less to say.
        real: real rates, a frame or a CSV: policy, task, successes, episodes (or success_rate, n_trials).
            Without it, the rates of ``real_episodes`` are used.
        real_episodes: real episodes paired by policy, task and start frame.
        judge_labels: (name, frame) pairs of labelled episodes: label (what happened), success (what the judge
            says), optionally task.  The last pair corrects the rates: give generated episodes last.
        frames: gives the frames (t h w 3) of an episode id, for film strips; default: from column ``video``.
        out: folder to write the page, table, numbers and figures into.
        real_name: what plays reality, as the page shall call it, e.g. "real = MuJoCo physics".
        provenance: how the episodes were made, shown at the end of the page.

    Raises:
        ValueError: if a table lacks a column or holds impossible numbers.
        FileNotFoundError: if a given path does not exist.
    """
    sim, sim_episodes, remarks = read_simulated(episodes)
    real_table: pd.DataFrame | None = None
    real_runs: pd.DataFrame | None = None
    if real_episodes is not None:
        real_runs, more = read_real_episodes(real_episodes)
        remarks += more
    if real is not None:
        real_table, more = read_rates(real)
        remarks += more
    elif real_runs is not None:
        real_table = success_rates(real_runs)

    rows = numbered(compare_rates(sim, real_table))
    remarks += name_remarks(sim, real_table, real_name)
    sets = list(dict.fromkeys(sim["set"]))
    by_set = {name: scopes(rows[rows["set"] == name]) for name in sets}
    pairs = policy_pairs(rows)
    nothing = "no real rates were given" if real_table is None else ""
    verdicts = {
        name: verdict(by_set[name][POOLED], pairs[pairs["set"] == name], real_name, nothing) for name in sets
    }
    paired = pair_episodes(sim_episodes, real_runs)
    remarks += paired.remarks
    in_set, per_task = episode_agreement(paired.pairs, ("set",)), episode_agreement(paired.pairs)
    same = pd.concat([in_set.assign(task=POOLED), per_task], ignore_index=True) if len(in_set) else per_task
    powered, powered_note = prediction_powered_rates(sim_episodes, paired.pairs)
    errors = [error for name, labels in judge_labels or () for error in judge_errors(name, labels)]
    corrected, warnings = _correct(rows, errors)
    result = Report(
        title=title,
        real_name=real_name,
        verdicts=verdicts,
        rates=rows,
        agreement=agreement_frame(by_set),
        by_set=by_set,
        ranking={name: rank(sim_episodes[sim_episodes["set"] == name]) for name in sets},
        pairs=pairs,
        episode_agreement=same,
        worst=worst_episodes(paired.pairs, rows),
        by_length={name: agreement_by_length(paired.pairs[paired.pairs["set"] == name]) for name in sets},
        prediction_powered=powered,
        prediction_powered_note=powered_note,
        judge=pd.DataFrame([error.as_row() for error in errors]),
        corrected=corrected,
        judge_warnings=tuple(warnings),
        remarks=tuple(remarks),
        metrics={},
        provenance=dict(provenance or {}),
        episodes=sim_episodes,
        frames=frames or frames_by_column(sim_episodes),
    )
    result.metrics.update(report_metrics(result))
    if out is not None:
        result.write(out)
    return result


def _correct(rows: pd.DataFrame, errors: Sequence[JudgeError]) -> tuple[pd.DataFrame, list[str]]:
    """Rates corrected by the last set of labels, and warnings."""
    if not errors:
        return pd.DataFrame(), []
    used = [error for error in errors if error.task == "all tasks"][-1]
    why = why_uncorrected(used)
    if why:
        return pd.DataFrame(), [why]
    corrected = corrected_rates(rows, used)
    return corrected, rank_changes(corrected)
