"""The demo as a newcomer runs it, with few starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from real2sim.cli import main
from real2sim.episodes.run_folder import load_run
from real2sim.evaluation.suite_policies import shipped_policies
from real2sim.simulation.suite import load_suite


def test_at_least_eight_training_runs_are_shipped() -> None:
    assert len(set(shipped_policies(load_suite("drawer")).values())) >= 8


@pytest.mark.slow
def test_the_demo_reports_every_shipped_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo", "--out", str(tmp_path), "--starts", "2"])
    said = capsys.readouterr().out
    shipped = shipped_policies(load_suite("drawer"))
    assert all(name in said for name in shipped)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["policies"] == len(shipped)
    played = load_run(tmp_path / "run").query("set == 'policies'")
    assert len(played) == len(shipped) * 2 * 2
    # Episodes without a verdict are left out of the numbers.
    assert metrics["episodes"] == played["success"].notna().sum() >= len(played) - 3
    assert (tmp_path / "report.html").stat().st_size > 0
