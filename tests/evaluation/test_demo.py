from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from real2sim.cli import main
from real2sim.evaluation.demo import DemoConfig, agreement_lines, demo, rate_table


@pytest.fixture
def suite(tiny_suite: Path, tmp_path: Path) -> Path:
    """The tiny suite with real rates."""
    folder = tmp_path / "suite"
    shutil.copytree(tiny_suite, folder)
    rates = {"early": (0, 1), "late": (3, 2), "other": (2, 0), "replay:push": (3, 1)}
    lines = ["policy,task,successes,episodes"]
    lines += [f"{name},close_drawer,{close},3" for name, (close, _) in rates.items()]
    lines += [f"{name},open_drawer,{opened},3" for name, (_, opened) in rates.items()]
    (folder / "real_rates.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_the_demo_ends_with_rates_agreement_and_a_page(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    main(["demo", "--out", str(out), "--suite", str(suite), "--starts", "3", "--processes", "1"])
    said = capsys.readouterr().out
    for policy in ("early", "late", "other", "replay:push", "replay:pull"):
        assert policy in said
    assert "MMRV" in said
    assert said.rstrip().endswith(f"report: {out / 'report.html'}")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["policies"] == 3
    assert metrics["episodes"] == 3 * 2 * 3
    assert {"pearson", "mmrv", "mae_points", "frame_passes_per_frame"} <= set(metrics)
    assert "real = made up" in (out / "report.html").read_text()


@pytest.mark.slow
def test_the_demo_continues_and_changes_nothing_when_it_is_complete(suite: Path, tmp_path: Path) -> None:
    config = DemoConfig(out=tmp_path / "demo", suite=str(suite), starts=2, replays=False, processes=1)
    first = demo(config)
    rows = (tmp_path / "demo" / "run" / "rows-0.jsonl").read_bytes()
    second = demo(config)
    assert (tmp_path / "demo" / "run" / "rows-0.jsonl").read_bytes() == rows
    assert rate_table(first) == rate_table(second)
    assert agreement_lines(first) == agreement_lines(second)


@pytest.mark.slow
def test_a_report_on_two_seeds_counts_the_episodes_of_both(suite: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy-of-early"
    shutil.copytree(suite / "policies" / "early", copy)
    runs = []
    for seed in (0, 1):
        runs.append(str(tmp_path / f"run-{seed}"))
        options = ["--starts", "2", "--seed", str(seed), "--suite", str(suite), "--processes", "1"]
        main(["rollout", "--out", runs[-1], "--policies", "early", str(copy), "late", *options])
    main(["score", *runs])
    main(["report", *runs, "--out", str(tmp_path / "report")])
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["episodes"] == 2 * 3 * 2 * 2
    assert list(metrics["sets"]) == ["policies"]
    (twins,) = [remark for remark in metrics["remarks"] if "identical weights" in remark]
    assert "copy-of-early" in twins


@pytest.mark.slow
def test_a_report_without_real_rates_says_that_agreement_was_not_measured(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite / "real_rates.csv").unlink()
    run = str(tmp_path / "run")
    main(
        [
            "rollout",
            "--out",
            run,
            "--policies",
            "early",
            "late",
            "--starts",
            "2",
            "--suite",
            str(suite),
            "--processes",
            "1",
        ]
    )
    main(["score", run])
    capsys.readouterr()
    main(["report", run, "--out", str(tmp_path / "report")])
    said = capsys.readouterr().out
    assert "policies: agreement not measured, no policy has real rates\n" in said
    assert "MMRV" not in said
