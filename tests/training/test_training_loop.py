"""The training loop on a task of a few weights: it can be stopped anywhere, and it does not go on with bad numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from real2sim.training.checkpoint import CHECKPOINT_FILE, LOG_FILE, SETTINGS_FILE, read_checkpoint
from real2sim.training.loop import run_training, trained_weights
from real2sim.training.optimisation import Optimisation

QUICK = Optimisation(steps=6, warmup=2, checkpoint_every=4, log_every=1, device="cpu")


class Line:
    """Two numbers are fitted to a line; a third part of the model is not trained and kept."""

    fixed_settings = ("slope",)

    def __init__(self, slope: float = 2.0, bad_step: int | None = None, bad: float = math.nan) -> None:
        self.slope, self.bad_step, self.bad = slope, bad_step, bad
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = nn.ModuleDict({"line": nn.Linear(1, 1), "scale": nn.Linear(1, 1)})

    @property
    def trained(self) -> nn.Module:
        return self.model["line"]

    @property
    def extra_modules(self) -> Mapping[str, nn.Module]:
        return {"scale": self.model["scale"]}

    def settings(self) -> Mapping[str, Any]:
        return {"slope": self.slope, "free": 1}

    def learned_files(self) -> list[Path]:
        return []

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        x = torch.from_numpy(rng.normal(size=(8, 1)).astype(np.float32))
        if step == self.bad_step:
            x[0] = self.bad
        error = network(x) - self.slope * x
        return {"loss": error.square().mean(), "largest": error.abs().max()}


class KilledError(Exception):
    """Stands for the end of the process."""


def killed(task: Line, config: Optimisation, out: Path, step: int) -> None:
    def after_step(done: int) -> None:
        if done == step:
            raise KilledError

    with pytest.raises(KilledError):
        run_training(task, config, out, after_step=after_step)


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / LOG_FILE).read_text().splitlines()]


@pytest.mark.parametrize("log_every", [1, 3])
def test_a_killed_training_equals_one_that_was_not_and_logs_each_step_once(
    tmp_path: Path, log_every: int
) -> None:
    config = replace(QUICK, log_every=log_every)
    assert run_training(Line(), config, tmp_path / "whole")
    killed(Line(), config, tmp_path / "parts", step=5)
    assert read_checkpoint(tmp_path / "parts")["step"] == 4
    assert run_training(Line(), config, tmp_path / "parts")
    expected, found = (read_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    for part in ("trained", "average"):
        for name, tensor in expected[part].items():
            assert torch.equal(found[part][name], tensor)
    assert [row["step"] for row in rows(tmp_path / "parts")] == (
        [1, 2, 3, 4, 5, 6] if log_every == 1 else [3, 6]
    )
    for row, other in zip(rows(tmp_path / "parts"), rows(tmp_path / "whole"), strict=True):
        assert row["loss"] == other["loss"]
        assert row["largest"] == other["largest"]


@pytest.mark.parametrize(
    ("bad", "what"), [(math.nan, "loss is nan"), (math.inf, "loss is"), (3e18, "gradient has the norm inf")]
)
def test_numbers_that_are_not_finite_stop_the_training_and_the_last_checkpoint_is_kept(
    tmp_path: Path, bad: float, what: str
) -> None:
    config = replace(QUICK, checkpoint_every=2)
    with pytest.raises(ValueError, match=f"the {what}.*at step 6 of the training in .*is kept") as stopped:
        run_training(Line(bad_step=5, bad=bad), config, tmp_path)
    assert str(tmp_path / CHECKPOINT_FILE) in str(stopped.value)
    weights, state = trained_weights(tmp_path)
    assert state["step"] == 4
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert run_training(Line(), config, tmp_path)


def test_weights_that_a_step_has_ruined_are_not_kept(tmp_path: Path) -> None:
    config = replace(QUICK, checkpoint_every=2)
    run_training(Line(), replace(config, steps=4), tmp_path)
    with pytest.raises(ValueError, match=r"the weights \(weight\) are not finite after step .*is kept"):
        run_training(Line(), replace(config, steps=5, weight_decay=1e45), tmp_path)
    assert trained_weights(tmp_path)[1]["step"] == 4


def test_a_first_step_that_fails_says_that_there_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no checkpoint yet"):
        run_training(Line(bad_step=0), QUICK, tmp_path)
    # What was never saved does not stand in the way of other settings.
    assert run_training(Line(slope=3.0), QUICK, tmp_path)


def test_only_fixed_settings_must_stay(tmp_path: Path) -> None:
    run_training(Line(), QUICK, tmp_path)
    assert run_training(Line(), replace(QUICK, steps=8), tmp_path)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(ValueError, match="begun with another slope"):
        run_training(Line(slope=3.0), QUICK, tmp_path)


def test_parts_that_are_not_trained_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    task = Line()
    with torch.no_grad():
        task.model["scale"].weight.fill_(7.0)
    killed(task, replace(QUICK, checkpoint_every=1), tmp_path, step=2)
    other = Line()
    run_training(other, QUICK, tmp_path)
    assert other.model["scale"].weight.item() == 7.0
    assert other.model["line"].weight.item() != Line().model["line"].weight.item()


def test_a_time_limit_stops_at_a_checkpoint(tmp_path: Path) -> None:
    assert not run_training(Line(), replace(QUICK, steps=10**6), tmp_path, max_minutes=1e-4)
    step = read_checkpoint(tmp_path)["step"]
    assert 0 < step < 10**6
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, step + 1))


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        (CHECKPOINT_FILE, b"", "cannot be read as the checkpoint"),
        (CHECKPOINT_FILE, b"\x80\x02cos\nsystem\nq\x00.", "cannot be read as the checkpoint"),
        (SETTINGS_FILE, b"[1]", "holds a list, expected an object"),
        (LOG_FILE, b'{"loss": 1}\n', "line 1 is no line of a training's log"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, content: bytes, sentence: str) -> None:
    run_training(Line(), QUICK, tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as refused:
        run_training(Line(), QUICK, tmp_path)
    assert str(tmp_path / file) in str(refused.value)


def test_a_cut_off_checkpoint_is_named(tmp_path: Path) -> None:
    run_training(Line(), QUICK, tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read as the checkpoint"):
        run_training(Line(), QUICK, tmp_path)


def test_a_checkpoint_of_another_kind_is_named(tmp_path: Path) -> None:
    run_training(Line(), QUICK, tmp_path)
    torch.save({"step": 3}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(ValueError, match="has no entry 'average'"):
        run_training(Line(), QUICK, tmp_path)


def test_two_accumulated_passes_are_means_of_what_each_measures(tmp_path: Path) -> None:
    run_training(Line(), replace(QUICK, steps=1, accumulate=2), tmp_path)
    task = Line()
    passes = [task.loss(task.trained, 0, np.random.default_rng([0, 0, number])) for number in range(2)]
    (row,) = rows(tmp_path)
    assert row["loss"] == pytest.approx(np.mean([values["loss"].item() for values in passes]), rel=1e-6)
