"""Scoring runs with a judge, as one step of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from real2sim.episodes.run_folder import RunFolder
from real2sim.simulation.suite import load_suite

JUDGE_FOLDER = "judge"


@dataclass(frozen=True)
class ScoreConfig:
    """Let a judge decide which episodes of a run succeeded."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders."""
    judge: Path | None = None
    """Model folder of a judge, or a CSV file with human labels; by default the judge of the run's suite."""


def score_runs(config: ScoreConfig) -> list[Path]:
    """Score each run and return the score files."""
    from real2sim.success.judge import open_judge
    from real2sim.success.score import score

    if not config.runs:
        raise ValueError("no run folder was given; name at least one")
    return [score(run, open_judge(config.judge or suite_judge(run), folders=[run])) for run in config.runs]


def suite_judge(run: Path) -> Path:
    """The judge of the suite that a run was made in."""
    folder = load_suite(RunFolder(run).suite()).folder / JUDGE_FOLDER
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the suite of {run} has no judge in {folder}; name one with --judge, "
            "or train one with `real2sim train classifier`"
        )
    return folder
