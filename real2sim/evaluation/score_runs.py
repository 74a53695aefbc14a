"""Scoring runs with a judge, as one step of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from real2sim.episodes.run_folder import RunFolder
from real2sim.simulation.suite import load_suite

JUDGE_FOLDER = "judge"
GATE_FOLDER = "gate"


@dataclass(frozen=True)
class ScoreConfig:
    """Let a judge decide which episodes of a run succeeded."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders."""
    judge: Path | None = None
    """Model folder of a judge, or a CSV file with human labels; by default the judge of the run's suite."""
    gate: Path | None = None
    """Model folder of a validity gate, which says from which frame on each episode is unlike real video; by default the
    gate of the run's suite, if it has one."""


def score_runs(config: ScoreConfig) -> list[Path]:
    """Score each run and return the score files."""
    from real2sim.success.judge import open_judge
    from real2sim.success.score import score

    if not config.runs:
        raise ValueError("no run folder was given; name at least one")
    files = [score(run, open_judge(config.judge or suite_judge(run), folders=[run])) for run in config.runs]
    for run in config.runs:
        folder = config.gate or suite_gate(run)
        if folder is not None:
            from real2sim.success.gate_runs import check_run
            from real2sim.success.validity import ValidityGate

            files.append(check_run(run, ValidityGate.from_folder(folder)))
    return files


def suite_judge(run: Path) -> Path:
    """The judge of the suite that a run was made in."""
    folder = load_suite(RunFolder(run).suite()).folder / JUDGE_FOLDER
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the suite of {run} has no judge in {folder}; name one with --judge, "
            "or train one with `real2sim train classifier`"
        )
    return folder


def suite_gate(run: Path) -> Path | None:
    """The validity gate of the suite that a run was made in; None where it has none or is not here."""
    try:
        folder = load_suite(RunFolder(run).suite()).folder / GATE_FOLDER
    except (ValueError, FileNotFoundError):
        # Human labels need no suite, and a run may be scored where its suite is not.
        return None
    return folder if folder.is_dir() else None
