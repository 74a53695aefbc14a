"""The scripts that measure speed, at toy size."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import convert_lerobot as conversion_benchmark
from benchmarks import expected_cost, full_size, gpu_check, gpu_rollouts, steps_and_error
from benchmarks import rollout as rollout_benchmark
from real2sim.episodes.arrays import write_arrays
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.model import Vid2World
from real2sim.vid2world.released.sampler import SamplerConfig


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


@pytest.mark.parametrize(
    "more", [(), WINDOWED, pytest.param((*WINDOWED, "--frame-size", "32"), marks=pytest.mark.slow)]
)
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


def test_throughput_of_a_robot_with_several_commands_per_frame_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rollout", "--suite", "so101", "--lanes", "1", "--frames", "1"])
    rollout_benchmark.main()
    assert capsys.readouterr().out.splitlines()[2].startswith("| 1 | ")


@pytest.mark.slow
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


@pytest.mark.slow
def test_expected_cost_of_a_frame_is_what_its_passes_cost() -> None:
    config = Vid2WorldConfig.tiny()
    parts = expected_cost.counted_parts(config)
    peaks = expected_cost.Peaks(1e12, 1e12)

    def cost(**changes: object) -> expected_cost.FrameCost:
        sampler = replace(SamplerConfig(guidance=1.0), **changes)  # type: ignore[arg-type]
        return expected_cost.frame_cost(config, parts, sampler, peaks)

    window = config.history + 1
    assert parts.whole.flops / parts.single.flops == pytest.approx(window, rel=0.15), (
        "frame by frame, but attention"
    )
    around = parts.decode.flops + parts.encode.flops + parts.tokens.flops
    one, ten = cost(steps=1), cost(steps=10)
    assert ten.flops - one.flops == pytest.approx(9 * parts.whole.flops)
    assert one.flops == pytest.approx(parts.whole.flops + around)
    assert (one.passes, ten.passes) == (window, 10 * window)
    cached = cost(steps=10, history="cached")
    assert cached.flops == pytest.approx(parts.whole.flops + 9 * parts.single.flops + around)
    guided = cost(steps=10, guidance=2.5)
    more = parts.decode.flops + parts.tokens.flops
    assert guided.flops == pytest.approx(20 * parts.whole.flops + around + more), (
        "the start is decoded for the branch"
    )
    weights = sum(p.numel() for p in Vid2World(config).unet.parameters())
    assert parts.whole.weights == 2 * weights
    slow = expected_cost.frame_cost(config, parts, SamplerConfig(steps=1), expected_cost.Peaks(1e30, 1e9))
    assert slow.seconds >= 2 * weights / 1e9, "reading the weights alone takes as long"


@pytest.mark.slow
def test_expected_costs_are_printed_without_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["full_size", "--tiny", "--expected", "--peak-tflops", "100", "--bandwidth", "1"]
    )
    full_size.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("one lane, a full history of 3 frames, bfloat16, 100 TFLOP/s, 1 TB/s")
    assert len(lines) == 1 + 2 + 20
    assert lines[3].startswith("| 50 | 2.5 | exact | 400 |")


def test_a_part_of_the_gpu_check_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(options: gpu_check.Options) -> dict[str, object]:
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(gpu_check.PARTS, "speed", broken)
    monkeypatch.setitem(gpu_check.PARTS, "whole", lambda options: {"line": "12 frames/s"})
    for part, code in (("speed", 1), ("whole", 0)):
        assert gpu_check.main(["--out", str(tmp_path), "--device", "cpu", "--alone", "--parts", part]) == code
    assert "no such kernel" in capsys.readouterr().out
    lines: list[str] = []
    assert gpu_check.summed_up(tmp_path, ["speed", "whole", "full"], lines.append) == 1
    assert "RuntimeError: no such kernel" in lines[1]
    assert lines[2].endswith("ok  12 frames/s")
    assert "it wrote nothing" in lines[3]


@pytest.mark.slow
def test_parity_drives_with_commands_under_which_rounding_stays_rounding() -> None:
    """What a GPU rounds otherwise must not be magnified; under random commands it is."""
    model, world = gpu_rollouts.shipped("so101", "cpu")
    recorded = gpu_rollouts.recorded_commands(world.suite, 3)[:, :12]
    robot = world.suite.robot
    random = np.random.default_rng(1).uniform(robot.low, robot.high, recorded.shape).astype(np.float32)
    apart = {}
    for name, commands in (("recorded", recorded), ("random", random)):
        nudged = commands * np.float32(1 + 1e-6)
        assert (nudged != commands).any()
        (here, _), (there, _) = (gpu_rollouts.driven(model, world, given) for given in (commands, nudged))
        apart[name] = np.abs(here - there).mean()
    assert apart["recorded"] < 0.01 < apart["random"]


@pytest.mark.slow
def test_the_gpu_check_runs_on_the_processor_too(tmp_path: Path) -> None:
    words = ["--device", "cpu", "--quick", "--out", str(tmp_path), "--limit", "280", "--parts"]
    assert gpu_check.main([*words, "parity", "whole"]) == 0
    assert json.loads((tmp_path / "parity.json").read_text())["drawer"]["pixel_max"] == 0
