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

from real2sim.report.agreement import Agreement, agreement
from real2sim.report.film_strips import frames_by_column
from real2sim.report.gaps import (
    LengthTrust,
    agreement_by_length,
    episode_agreement,
    pair_episodes,
    policy_pairs,
    worst_episodes,
)
from real2sim.report.inputs import read_episodes, read_rates, read_real_episodes
from real2sim.report.judge_error import FEWEST_LABELS, corrected_rates, judge_errors, rank_changes
from real2sim.report.metrics import FORMAT, agreement_frame, agreement_metrics, episode_counts, plain
from real2sim.report.rates import compare_rates, success_rates
from real2sim.report.verdict import Verdict, verdict
from real2sim.report.wording import listing

POOLED, AVERAGE = "pooled", "task average"


@dataclass(frozen=True)
class Report:
    """Everything a report says, as pandas frames and plain numbers; ``write`` makes the files."""

    title: str
    real_name: str
    verdicts: dict[str, Verdict]
    """Per set of policies; the first is the main set."""
    rates: pd.DataFrame
    """One row per set, policy and task: both rates with counts and intervals, the gap; ``number`` for figures."""
    agreement: pd.DataFrame
    """One row per set, scope (pooled, task average, each task) and measure."""
    by_set: dict[str, dict[str, Agreement]]
    pairs: pd.DataFrame
    episode_agreement: pd.DataFrame
    worst: pd.DataFrame
    by_length: dict[str, LengthTrust]
    judge: pd.DataFrame
    corrected: pd.DataFrame
    judge_warnings: tuple[str, ...]
    remarks: tuple[str, ...]
    metrics: dict[str, Any]
    provenance: dict[str, str]
    episodes: pd.DataFrame = field(repr=False)
    frames: Callable[[str], np.ndarray] | None = field(repr=False, default=None)

    @property
    def verdict(self) -> str:
        """The first paragraph of the page."""
        return next(iter(self.verdicts.values())).text if self.verdicts else "There are no episodes to report on."

    def write(self, out: Path | str) -> Path:
        """Write report.html, report.csv, metrics.json and figures/ into ``out``; gives the path of the page."""
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


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by set and mean real rate (simulated, where reality is unknown), with ``number`` per policy."""
    order: list[pd.DataFrame] = []
    for _, group in rows.groupby("set", sort=False):
        mean = group.groupby("policy", sort=False)[["real_rate", "sim_rate"]].mean()
        mean["key"] = mean["real_rate"].fillna(mean["sim_rate"])
        ranked = list(mean.sort_values("key", ascending=False, kind="stable").index)
        place = {policy: i + 1 for i, policy in enumerate(ranked)}
        group = group.assign(number=group["policy"].map(place))
        order.append(group.sort_values(["number", "task"], kind="stable"))
    return pd.concat(order, ignore_index=True) if order else rows.assign(number=pd.Series(dtype=int))


def task_averages(rows: pd.DataFrame) -> pd.DataFrame:
    """Each policy's mean over the tasks that every compared policy has, as one comparison row.

    Counts are summed; they are exact where every task has as many episodes.
    """
    rows = rows[rows["sim_rate"].notna() & rows["real_rate"].notna()]
    tasks = rows.groupby("task")["policy"].nunique()
    common = tasks[tasks == rows["policy"].nunique()].index
    rows = rows[rows["task"].isin(common)]
    sums = ["sim_successes", "sim_episodes", "real_successes", "real_episodes"]
    grouped = rows.groupby(["set", "policy", "family"], sort=False)
    out = grouped[["sim_rate", "real_rate"]].mean()
    out[sums] = grouped[sums].agg(lambda column: column.sum(skipna=False))
    return out.reset_index().assign(task=AVERAGE)


def scopes(rows: pd.DataFrame) -> dict[str, Agreement]:
    """Agreement of one set: pooled over its points, over task averages, and per task."""
    tasks = list(dict.fromkeys(rows["task"]))
    out = {POOLED: agreement(rows)}
    if len(tasks) > 1:
        out[AVERAGE] = agreement(task_averages(rows))
    return out | {task: agreement(rows[rows["task"] == task]) for task in tasks}


def _name_remarks(sim: pd.DataFrame, real: pd.DataFrame | None, real_name: str) -> list[str]:
    """What is measured on one side only."""
    if real is None:
        return [f"No real rates were given ({real_name}); the simulated rates stand alone."] if len(sim) else []
    remarks = []
    sim_cells = set(zip(sim["policy"], sim["task"], strict=True))
    real_cells = set(zip(real["policy"], real["task"], strict=True))
    known = set(real["policy"])
    unknown = sorted({policy for policy, _ in sim_cells} - known)
    if unknown:
        remarks.append(f"Not among the real rates, so without a comparison: {listing(unknown)}.")
    partly = sorted(f"{p} on {t}" for p, t in sim_cells - real_cells if p in known)
    if partly:
        remarks.append(f"Real rate missing: {listing(partly)}.")
    absent = sorted(f"{p} on {t}" for p, t in real_cells - sim_cells)
    if absent:
        remarks.append(f"Measured in reality but not simulated in this run: {listing(absent)}.")
    return remarks


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
        real: real rates, a frame or a CSV: policy, task, successes, episodes (or success_rate, n_trials).
            Without it, the rates of ``real_episodes`` are used.
        real_episodes: real episodes paired by policy, task and start frame.
        judge_labels: (name, frame) pairs of labelled episodes: label (what really happened), success (what the
            judge says), optionally task.  The last pair corrects the rates: give the generated episodes last.
        frames: gives the frames (t h w 3) of an episode id, for film strips; default: from the column ``video``.
        out: folder to write the page, table, numbers and figures into.
        real_name: what plays reality, as the page shall call it, e.g. "real = MuJoCo physics".
        provenance: how the episodes were made, shown at the end of the page.

    Raises:
        ValueError: if a table lacks a column or holds impossible numbers.
        FileNotFoundError: if a given path does not exist.
    """
    sim_episodes, remarks = read_episodes(episodes)
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

    sim = success_rates(sim_episodes, ("set", "policy", "family", "task"))
    rows = _numbered(compare_rates(sim, real_table))
    remarks += _name_remarks(sim, real_table, real_name)
    sets = list(dict.fromkeys(sim_episodes["set"]))
    by_set = {name: scopes(rows[rows["set"] == name]) for name in sets}
    pairs = policy_pairs(rows)
    nothing = "no real rates were given" if real_table is None else ""
    verdicts = {
        name: verdict(by_set[name][POOLED], pairs[pairs["set"] == name], real_name, nothing) for name in sets
    }
    paired = pair_episodes(sim_episodes, real_runs)
    remarks += paired.remarks
    same = episode_agreement(paired.pairs)
    same_policy = episode_agreement(paired.pairs, ("set",)).assign(task=POOLED)
    same = pd.concat([frame for frame in (same_policy, same) if len(frame)] or [same], ignore_index=True)

    errors = [error for name, labels in judge_labels or () for error in judge_errors(name, labels)]
    corrected, warnings = pd.DataFrame(), list[str]()
    if errors:
        usable = [e for e in errors if e.task == "all tasks"][-1]
        if min(usable.positives, usable.negatives) < FEWEST_LABELS:
            warnings.append(
                f"Rates are not corrected for the judge's errors: “{usable.name}” holds {usable.positives} labelled "
                f"successes and {usable.negatives} failures; {FEWEST_LABELS} of each are needed."
            )
        elif usable.sensitivity + usable.specificity <= 1:
            warnings.append("The judge is no better than chance on the labelled episodes: believe none of its rates.")
        else:
            corrected = corrected_rates(rows, usable)
            warnings += rank_changes(corrected)

    metrics: dict[str, Any] = {"format": FORMAT, "title": title, "real_name": real_name}
    if sets:
        main = sim_episodes[sim_episodes["set"] == sets[0]]
        metrics |= {"set": sets[0]} | agreement_metrics(by_set[sets[0]][POOLED]) | episode_counts(main)
        # A reader of the top level asks how many policies ran; those compared with reality are in "compared".
        metrics |= {"policies": int(main["policy"].nunique()), "compared": by_set[sets[0]][POOLED].policies}
    else:
        empty = agreement(rows)
        metrics |= {"set": None} | agreement_metrics(empty) | episode_counts(sim_episodes) | {"compared": 0}
    metrics["verdict"] = {name: {"grade": v.grade, "text": v.text} for name, v in verdicts.items()}
    metrics["sets"] = {
        name: {
            "episodes": int((sim_episodes["set"] == name).sum()),
            POOLED: agreement_metrics(found[POOLED]),
            "task_average": agreement_metrics(found[AVERAGE]) if AVERAGE in found else None,
            "tasks": {task: agreement_metrics(a) for task, a in found.items() if task not in (POOLED, AVERAGE)},
            "episode_agreement": {
                row["task"]: {k: row[k] for k in row if k not in ("set", "task")}
                for row in same[same["set"] == name].to_dict("records")
            }
            if len(same)
            else {},
        }
        for name, found in by_set.items()
    }
    metrics["judge"] = [error.as_row() for error in errors]
    metrics["remarks"] = remarks
    result = Report(
        title=title,
        real_name=real_name,
        verdicts=verdicts,
        rates=rows,
        agreement=agreement_frame(by_set),
        by_set=by_set,
        pairs=pairs,
        episode_agreement=same,
        worst=worst_episodes(paired.pairs, rows),
        by_length={name: agreement_by_length(paired.pairs[paired.pairs["set"] == name]) for name in sets},
        judge=pd.DataFrame([error.as_row() for error in errors]),
        corrected=corrected,
        judge_warnings=tuple(warnings),
        remarks=tuple(remarks),
        metrics=plain(metrics),
        provenance=dict(provenance or {}),
        episodes=sim_episodes,
        frames=frames or frames_by_column(sim_episodes),
    )
    if out is not None:
        result.write(out)
    return result
