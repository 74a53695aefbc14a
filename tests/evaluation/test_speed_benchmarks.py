"""The scripts that measure speed, at toy size."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import convert_lerobot as conversion_benchmark
from benchmarks import rollout as rollout_benchmark
from benchmarks import steps_and_error
from real2sim.episodes.arrays import write_arrays


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two recorded episodes of five steps."""
    rng, folder = np.random.default_rng(0), tmp_path / "recorded"
    for index in range(2):
        arrays = {
            "image": rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8),
            "action": rng.uniform(-0.06, 0.06, (6, 13)).astype(np.float32),
        }
        folder.mkdir(exist_ok=True)
        write_arrays(folder / f"{index}.npz", arrays)
    return folder


WINDOWED = ("--compare", "windowed", "--rounds", "2", "--steps", "2")


@pytest.mark.parametrize("more", [(), WINDOWED, (*WINDOWED, "--frame-size", "32")])
def test_throughput_and_ratios_are_printed_and_written(
    tiny_suite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
) -> None:
    out = tmp_path / "out.md"
    words = ["--suite", str(tiny_suite), "--lanes", "1", "2", "--frames", "2", "--out", str(out), *more]
    monkeypatch.setattr(sys, "argv", ["rollout", *words])
    rollout_benchmark.main()
    text = out.read_text()
    assert text == capsys.readouterr().out
    if more:
        assert text.startswith("windowed, lanes 1: ")
        assert "times faster by the clock" in text
    else:
        assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| 1", "| 2"]


def test_error_of_every_way_to_draw_becomes_a_table_and_a_figure(
    tiny_suite: Path, recorded: Path, tmp_path: Path
) -> None:
    words = ["--data", str(recorded), "--out", str(tmp_path / "out"), "--suite", str(tiny_suite)]
    steps_and_error.main([*words, "--steps", "1", "3", "--at", "3", "--policies"])
    rows = pd.read_csv(tmp_path / "out" / "steps_and_error.csv")
    assert rows[rows["way"] == "steps"]["frame_passes"].tolist() == [2, 4]
    assert rows[rows["way"] == "guidance 1.5"]["frame_passes"].tolist() == [7]
    assert {"eta 1.0", "spacing uniform", "history level of the published rule"} <= set(rows["way"])
    assert rows["psnr_last"].between(0, 99).all()
    assert (tmp_path / "out" / "steps_and_error.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_ranking_of_every_way_to_draw_is_in_the_table(
    tiny_suite: Path, recorded: Path, tmp_path: Path
) -> None:
    """The tiny suite has no real rates, so agreement has no value; the policies are counted."""
    words = ["--data", str(recorded), "--out", str(tmp_path / "out"), "--suite", str(tiny_suite)]
    more = ["--steps", "1", "2", "--only-steps", "--policies", "shipped", "--starts", "2", "--processes", "1"]
    steps_and_error.main([*words, *more])
    rows = pd.read_csv(tmp_path / "out" / "steps_and_error.csv")
    assert rows["steps"].tolist() == [1, 2]
    assert {"pearson", "mmrv", "mae_points", "policies"} <= set(rows.columns)


def test_the_speed_of_a_conversion_is_printed_for_each_rate_and_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--episodes", "1", "--length", "11", "--height", "64", "--width", "64", "--codecs", "libx264"]
    monkeypatch.setattr(sys, "argv", ["convert_lerobot", *words])
    conversion_benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "22 source frames of 64 x 64, one process"
    assert len([line for line in lines if line.startswith("| libx264 | ")]) == 5
