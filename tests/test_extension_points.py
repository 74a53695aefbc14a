"""The changes that CONTRIBUTING.md counts: a new kind is one file and one line of a table."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from real2sim.cli import main
from real2sim.episodes.run_folder import load_run
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.evaluation.score_runs import ScoreConfig, score_runs
from real2sim.model_folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from real2sim.success.judge import JUDGES
from real2sim.vid2world.lane_state import LaneState
from real2sim.vid2world.load import LOADERS, TRAININGS, SamplingOverrides


def model_folder(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True)
    (folder / CONFIG_FILE).write_text(json.dumps({"kind": kind, "config": {}}))
    (folder / CARD_FILE).write_text("# A kind of its own\n")
    save_file({}, folder / WEIGHTS_FILE)
    return folder


class Dimmer:
    """A world model of another kind: each frame is a little darker than the one before."""

    image_size, frame_passes_per_frame = (16, 16), 1

    def reset(self, frames: np.ndarray, seeds: Sequence[int]) -> LaneStateOfDimmer:
        return LaneStateOfDimmer(tuple(seeds), (1,) * len(seeds), tuple(frames))

    def step(self, state: LaneStateOfDimmer, actions: np.ndarray) -> tuple[np.ndarray, LaneStateOfDimmer]:
        darker = tuple(np.maximum(frame, 10) - 10 for frame in state.newest)
        return np.stack(darker), LaneStateOfDimmer(state.seeds, state.frames, darker)

    def override_sampling(self, sampling: SamplingOverrides) -> None:
        pass


@dataclass(frozen=True)
class LaneStateOfDimmer(LaneState):
    newest: tuple[np.ndarray, ...]


class Brightness:
    """A judge of another kind: an episode that ends darker than it began is a success."""

    name, digest = "brightness", "1"

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        return np.array([float(video[-1].mean() < video[0].mean()) for video in frames])


def test_another_world_model_and_another_judge_are_each_one_line_of_a_table(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOADERS, "dimmer", lambda folder, device: Dimmer())
    monkeypatch.setitem(JUDGES, "brightness", lambda folder, device: Brightness())
    world, judge = model_folder(tmp_path / "world", "dimmer"), model_folder(tmp_path / "judge", "brightness")
    run = tmp_path / "run"
    rollout(
        RolloutConfig(
            out=run, policies=("random",), suite=str(tiny_suite), starts=2, world=str(world), processes=1
        )
    )
    score_runs(ScoreConfig(runs=(run,), judge=judge))
    table = load_run(run)
    assert len(table) == 4
    assert table["judge"].unique().tolist() == ["brightness"]
    assert table["success"].all()


@dataclass(frozen=True)
class TrainDimmer:
    """Train a dimmer."""

    dimmer: Path
    """Where it begins."""
    out: Path

    def run(self) -> Path:
        return self.out / "model"


def test_another_training_is_chosen_by_its_own_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType("train_dimmer")
    module.TrainDimmer = TrainDimmer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "train_dimmer", module)
    monkeypatch.setitem(TRAININGS, "--dimmer", "train_dimmer:TrainDimmer")
    main(["train", "world-model", "--dimmer", str(tmp_path), "--out", str(tmp_path)])
    assert capsys.readouterr().out == f"world model: {tmp_path / 'model'}\n"


def test_a_kind_that_no_table_names_is_refused_with_those_that_are(tmp_path: Path) -> None:
    from real2sim.success.judge import open_judge
    from real2sim.vid2world.load import load_model

    folder = model_folder(tmp_path / "other", "painting")
    with pytest.raises(
        ValueError, match=r"kind 'painting'; expected a world model \('world_model' or 'vid2world'\)"
    ):
        load_model(folder)
    with pytest.raises(ValueError, match=r"kind 'painting'; expected a judge \('success_classifier'\)"):
        open_judge(folder)
