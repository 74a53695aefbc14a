"""A checkpoint whose content was changed is refused by file and entry, whatever was changed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from real2sim.training.checkpoint import CHECKPOINT_FILE, DATA_FILE, LOG_FILE
from real2sim.training.loop import run_training
from real2sim.training.optimisation import Optimisation

CONFIG = Optimisation(steps=2, warmup=1, checkpoint_every=1, log_every=1, device="cpu", ema=0.9)


class Halves:
    """One weight, trained to halve a number, and a second one that is kept."""

    fixed_settings = ()

    def __init__(self) -> None:
        self.model = nn.ModuleDict({"trained": nn.Linear(1, 1), "kept": nn.Linear(1, 1)})

    @property
    def trained(self) -> nn.Module:
        return self.model["trained"]

    @property
    def extra_modules(self) -> Mapping[str, nn.Module]:
        return {"kept": self.model["kept"]}

    def settings(self) -> Mapping[str, Any]:
        return {}

    def learned_files(self) -> list[Path]:
        return []

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        x = torch.from_numpy(rng.normal(size=(4, 1)).astype(np.float32))
        return {"loss": (network(x) - x / 2).square().mean()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("training")
    run_training(Halves(), CONFIG, out)
    state: dict[str, Any] = torch.load(out / CHECKPOINT_FILE, weights_only=True)
    return state


def changed(values: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of nested maps and lists with another value at ``place``; ``...`` takes it out."""
    if not place:
        return value
    copy = dict(values) if isinstance(values, dict) else list(values)
    if value is ... and len(place) == 1:
        del copy[place[0]]
    else:
        copy[place[0]] = changed(copy[place[0]], place[1:], value)
    return copy


WRONG = [None, "x", -1, math.nan, [], True, 10**30, torch.zeros(2, 2), torch.tensor(math.nan)]
PLACES = ["step", "seconds", "average", "unlogged", "trained", "optimiser", "extra"]
DEEPER: list[tuple[tuple[Any, ...], Any]] = [
    (("trained", "weight"), torch.tensor([[math.nan]])),
    (("trained", "weight"), torch.zeros(2)),
    (("average", "weight"), torch.zeros(2)),
    (("average", "weight"), ...),
    (("trained", "weight"), torch.eye(1).to_sparse()),
    (("average", "weight"), torch.empty(1, 1, device="meta")),
    (("average", "weight"), 3.0),
    (("extra", "kept"), None),
    (("extra", "kept", "bias"), ...),
    (("unlogged",), {"loss": [math.nan]}),
    (("unlogged",), {"loss": 1.0}),
    (("unlogged",), {"other": []}),
    (("optimiser", "state"), ...),
    (("optimiser", "param_groups"), ...),
    (("optimiser", "param_groups"), []),
    (("optimiser", "state", 0, "exp_avg"), torch.zeros(3)),
    (("optimiser", "state", 0, "exp_avg_sq"), torch.full((1, 1), math.nan)),
    (("optimiser", "param_groups", 0, "lr"), math.nan),
    (("optimiser", "param_groups", 0, "params"), [0]),
    (("optimiser", "param_groups", 0, "betas"), "x"),
    (("optimiser", "param_groups", 0, "betas"), (0.9, 10**30)),
    (("optimiser", "state"), {}),
    (("optimiser", "state", 0, "exp_avg"), ...),
]


def refused(out: Path, steps: int = 3) -> str:
    with pytest.raises(ValueError, match=r"delete it to start over|was it written|was the file") as said:
        run_training(Halves(), replace(CONFIG, steps=steps), out)
    assert str(out / CHECKPOINT_FILE) in str(said.value)
    assert "\n" not in str(said.value)
    return str(said.value)


@pytest.mark.parametrize("place", PLACES)
def test_an_entry_of_another_kind_is_named(trained: dict[str, Any], tmp_path: Path, place: str) -> None:
    run_training(Halves(), CONFIG, tmp_path)
    for value in [*WRONG, ...]:
        if value is trained[place]:
            continue
        torch.save(changed(trained, (place,), value), tmp_path / CHECKPOINT_FILE)
        assert place in refused(tmp_path), value


@pytest.mark.parametrize(("place", "value"), DEEPER)
def test_what_lies_inside_an_entry_is_checked(
    trained: dict[str, Any], tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    run_training(Halves(), CONFIG, tmp_path)
    torch.save(changed(trained, place, value), tmp_path / CHECKPOINT_FILE)
    assert place[0] in refused(tmp_path)


def test_a_changed_byte_of_a_tensor_is_noticed(tmp_path: Path) -> None:
    run_training(Halves(), CONFIG, tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    whole = path.read_bytes()
    weight = torch.load(path, weights_only=True)["trained"]["weight"].numpy().tobytes()
    place = whole.index(weight)
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert "another checksum" in refused(tmp_path)


def test_a_training_that_has_gone_further_than_is_asked_for_is_said(tmp_path: Path) -> None:
    run_training(Halves(), CONFIG, tmp_path)
    with pytest.raises(
        ValueError, match=r"checkpoint.pt is that of 2 steps, and 1 are asked for; give at least"
    ):
        run_training(Halves(), replace(CONFIG, steps=1), tmp_path)


class Fixed(Halves):
    """A training with settings that stay."""

    fixed_settings = ("model", "data")

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self._settings = {"model": {"width": 3, "layers": [1, 2]}, "data": "a", **changes}

    def settings(self) -> Mapping[str, Any]:
        return self._settings


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model": {"width": 3, "layers": [1, 4]}},
            "another model: model.layers.1 was 2, now it is 4; give the same",
        ),
        ({"model": {"width": 3}}, r"another model: model.layers was \[1, 2\], now it is null; give"),
        (
            {"model": {"width": 4}, "data": "b"},
            'another data: it was "a", now it is "b"; give the same data',
        ),
    ],
)
def test_a_setting_that_differs_is_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    run_training(Fixed(), CONFIG, tmp_path)
    with pytest.raises(ValueError, match=sentence):
        run_training(Fixed(**changes), CONFIG, tmp_path)


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2"])
def test_fingerprints_of_folders_that_cannot_be_are_told(tmp_path: Path, number: str) -> None:
    run_training(Fixed(), CONFIG, tmp_path)
    (tmp_path / DATA_FILE).write_text(json.dumps({"files": {f"{number}/x.npz": "1"}}))
    with pytest.raises(ValueError, match=r"has changed since it was begun: x.npz is gone; put it back"):
        run_training(Fixed(), CONFIG, tmp_path)


@pytest.mark.parametrize(
    ("put", "sentence"),
    [
        (Path.mkdir, "is a folder; expected the checkpoint of a training"),
        (os.mkfifo, "is a pipe; expected the checkpoint of a training"),
        (lambda path: path.symlink_to("gone"), "is a link that leads to nothing; expected the checkpoint"),
        (lambda path: path.symlink_to(path), "cannot be read .Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_no_checkpoint(tmp_path: Path, put: Callable[[Path], None], sentence: str) -> None:
    run_training(Halves(), CONFIG, tmp_path)
    (tmp_path / CHECKPOINT_FILE).unlink()
    put(tmp_path / CHECKPOINT_FILE)
    with pytest.raises((ValueError, OSError), match=f"checkpoint.pt {sentence}"):
        run_training(Halves(), CONFIG, tmp_path)


def test_a_damaged_pickle_is_named_whatever_it_raises(tmp_path: Path) -> None:
    run_training(Halves(), CONFIG, tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    whole = path.read_bytes()
    place = whole.index(b"trained")
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed_bytes = bytearray(whole)
        for at in rng.integers(place - 40, place + 400, 3):
            changed_bytes[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed_bytes))
        assert refused(tmp_path)


@pytest.mark.parametrize(
    "line", ['{"step": true}', '{"step": -1}', '{"step": NaN}', "[]", "{}", "[" * 100_000, '{"step": 1, "lo']
)
def test_a_line_of_the_log_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    run_training(Halves(), CONFIG, tmp_path)
    path = tmp_path / LOG_FILE
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(ValueError, match=f"{LOG_FILE}, line 1 is no line of a training's log"):
        run_training(Halves(), replace(CONFIG, steps=3), tmp_path)
