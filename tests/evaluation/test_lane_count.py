"""Numbers of lanes found in a memory limit, and ways to draw chosen on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import real2sim
from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation import lane_count
from real2sim.evaluation.lane_count import fitting_lanes, peak_memory
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.simulation.suite import Suite
from real2sim.vid2world.load import SamplingOverrides, load_model


class Weighed:
    """A world whose lanes have a known weight in bytes, on top of what the process holds anyway."""

    name, frame_passes_per_frame = "weighed", 1

    def __init__(self, base: float, each: float) -> None:
        self.base, self.each, self.lanes = base, each, 0

    def reset(self, starts: Sequence[object], seeds: Sequence[int]) -> SimpleNamespace:
        self.lanes = len(starts)
        return SimpleNamespace()

    def step(self, state: SimpleNamespace, actions: np.ndarray) -> tuple[np.ndarray, SimpleNamespace]:
        return np.zeros((len(actions), 16, 16, 3), np.uint8), state

    def robot_state(self, state: SimpleNamespace) -> None:
        return None

    def outcomes(self, state: SimpleNamespace) -> None:
        return None

    def peak(self, run: Callable[[], None], device: str) -> float:
        run()
        return self.base + self.each * self.lanes


@pytest.mark.parametrize(
    ("limit", "expected"), [(0.5, 32), (0.30, 16), (0.15, 2), (0.135, 2), (10.0, lane_count.MOST_ON_CPU)]
)
def test_as_many_lanes_as_fit_below_the_reserve(
    tiny_suite: Path, monkeypatch: pytest.MonkeyPatch, limit: float, expected: int
) -> None:
    world = Weighed(base=1e8, each=1e7)
    monkeypatch.setattr(lane_count, "peak_memory", world.peak)
    lanes = fitting_lanes(world, Suite.from_folder(tiny_suite), limit=limit)
    assert lanes == expected
    assert world.base + world.each * lanes <= (1 - lane_count.RESERVE) * 1e9 * limit


def test_a_limit_below_one_lane_is_one_sentence(tiny_suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Weighed(base=1e8, each=1e7)
    monkeypatch.setattr(lane_count, "peak_memory", world.peak)
    with pytest.raises(ValueError, match=r"one lane needs 0\.11 GB and 0\.10 GB are allowed"):
        fitting_lanes(world, Suite.from_folder(tiny_suite), limit=0.1)


def test_memory_is_really_measured() -> None:
    """Eighty megabytes that a call holds for a moment are seen, and forgotten before the next call."""
    idle = peak_memory(lambda: None, "cpu")
    busy = peak_memory(lambda: np.ones(10_000_000).sum(), "cpu")
    assert busy - idle > 6e7


def config(suite: Path, out: Path, **more: object) -> RolloutConfig:
    settings = {"policies": ("late",), "suite": str(suite), "starts": 4, "processes": 1} | more
    return RolloutConfig(out=out, tasks=("close_drawer",), **settings)  # type: ignore[arg-type]


def frames(run: Path) -> dict[str, np.ndarray]:
    return {name: RunFolder(run).episode(name)[0] for name in real2sim.load_run(run)["episode"]}


def test_a_number_once_found_is_kept_and_gives_the_frames_of_that_number(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_count, "LADDER", (3,))
    rollout(config(tiny_suite, tmp_path / "auto", lanes="auto", starts=2), progress=False)
    assert RunFolder(tmp_path / "auto").settings()["lanes"] == 3
    monkeypatch.setattr(lane_count, "LADDER", (1,))
    rollout(config(tiny_suite, tmp_path / "auto", lanes="auto"), progress=False)
    assert RunFolder(tmp_path / "auto").settings()["lanes"] == 3

    rollout(config(tiny_suite, tmp_path / "three", lanes=3, starts=2), progress=False)
    rollout(config(tiny_suite, tmp_path / "three", lanes=3), progress=False)
    first, second = frames(tmp_path / "auto"), frames(tmp_path / "three")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_memory_limit_without_automatic_lanes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give it with --lanes auto"):
        RolloutConfig(out=tmp_path, memory_limit=1.0)


def test_another_way_to_draw_costs_what_it_says_and_does_not_mix(tiny_suite: Path, tmp_path: Path) -> None:
    quick = config(tiny_suite, tmp_path / "run", sampling=SamplingOverrides(steps=2, guidance=1.5))
    table = rollout(quick, progress=False)
    assert (table["frame_passes"] == 5 * table["steps"]).all()
    with pytest.raises(ValueError, match=r"steps=2 guidance=1\.5"):
        rollout(config(tiny_suite, tmp_path / "run"), progress=False)


def test_what_is_left_to_the_folder_is_not_named() -> None:
    assert str(SamplingOverrides()) == ""
    assert str(SamplingOverrides(eta=0.0, compile=True)) == "eta=0.0 compile=True"


def test_networks_can_draw_in_bfloat16(tiny_suite: Path) -> None:
    exact, half = (
        load_model(tiny_suite / "world_model", sampling=drawing)
        for drawing in (None, SamplingOverrides(precision="bfloat16"))
    )
    start, action = np.full((1, 16, 16, 3), 90, np.uint8), np.zeros((1, 13), np.float32)
    drawn, expected = (model.step(model.reset(start, [0]), action)[0] for model in (half, exact))
    assert not np.array_equal(drawn, expected)
    assert np.abs(drawn.astype(int) - expected).mean() < 12


def test_an_exact_cache_has_no_history_to_choose(tiny_suite: Path) -> None:
    with pytest.raises(ValueError, match="--history is for released weights"):
        load_model(tiny_suite / "world_model", sampling=SamplingOverrides(history="cached"))
