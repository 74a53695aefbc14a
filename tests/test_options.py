"""Numbers that people type are looked at where every command reads its options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from real2sim.arguments import parse
from real2sim.checks import check_options
from real2sim.cli import main
from real2sim.vid2world.training.train_small import TrainWorldModel

WRONG = [
    ("rank", "--seed", "-1"), ("rank", "--seed", str(2**63)), ("rank", "--lanes", "-1"), ("rank", "--step", "0"),
    ("rank", "--threads", str(10**30)), ("rank", "--processes", "0"), ("rank", "--budget", "0"),
    ("train policy", "--learning-rate", "nan"), ("train policy", "--learning-rate", "-1"),
    ("train policy", "--max-minutes", "nan"), ("train policy", "--max-minutes", "-1"),
    ("train policy", "--data.seed", "-1"), ("train policy", "--data.label-noise", "inf"),
    ("train policy", "--steps", str(10**30)), ("train imitation", "--network.temperature", "nan"),
    ("train imitation", "--network.layers", "-1"), ("train imitation", "--seed", "-1"),
    ("train classifier", "--weight-decay", "nan"), ("train classifier", "--degradation.blur", "inf"),
    ("train gate", "--average", "nan"), ("train world-model", "--optimisation.learning-rate", "nan"),
    ("suite make", "--reading.hz", "nan"), ("suite make", "--seed", "-1"), ("suite make", "--starts", str(10**30)),
    ("validate", "--episodes", str(10**30)), ("collect", "--seed", "-1"), ("record-so101", "--episodes", str(10**30)),
]  # fmt: skip
NEEDED = {
    "rank": ["--out", "o"], "collect": ["--out", "o"], "record-so101": ["--out", "o"],
    "train policy": ["--data.folder", "d", "--out", "o"], "train imitation": ["--data.folder", "d", "--out", "o"],
    "train classifier": ["--data", "d", "--out", "o"], "train gate": ["--data", "d", "--out", "o"],
    "train world-model": ["--data", "d", "--out", "o"], "suite make": ["d", "--out", "o", "--task", "a=b"],
    "validate": ["w", "--data", "d", "--out", "o"],
}  # fmt: skip


@pytest.mark.parametrize(("command", "option", "value"), WRONG)
def test_a_number_that_cannot_be_meant_is_refused_by_its_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    option: str,
    value: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), *NEEDED[command], option, value])
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    name = option.strip("-").split(".")[-1]
    assert name in said or name.replace("-", "_") in said, said
    assert not any(tmp_path.iterdir())


@dataclass(frozen=True)
class Inner:
    offset: float = -1.0
    sides: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    seed: int = 0
    rate: float = 1.0
    minutes: float = math.inf
    on: bool = True
    name: str = "x"
    lanes: int | None = None
    bounds: tuple[float, float] = (-1.0, 1.0)


@pytest.mark.parametrize(
    "config",
    [Outer(), Outer(seed=2**62), Outer(minutes=3.0), Outer(Inner(-7.0)), Outer(rate=2), Outer(lanes=2**30)],
)
def test_what_can_be_meant_is_taken(config: Outer) -> None:
    check_options(config)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (Outer(seed=-1), "--seed must be at least 0, got -1"),
        (Outer(rate=math.inf), "--rate must be a finite number, got inf"),
        (Outer(rate=-0.5), "--rate must be at least 0, got -0.5"),
        (Outer(minutes=math.nan), "--minutes must be a finite number, got nan"),
        (Outer(minutes=-math.inf), "--minutes must be a finite number, got -inf"),
        (Outer(Inner(math.nan)), "--inner.offset must be a finite number, got nan"),
        (Outer(Inner(sides=(1, -2))), "--inner.sides must be at least 0, got -2"),
        (Outer(lanes=10**30), "--lanes must be at most 2147483647"),
    ],
)
def test_the_option_is_named_with_where_it_stands(config: Outer, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_options(config)


@dataclass(frozen=True)
class Named:
    device: str = "cpu"


@dataclass(frozen=True)
class Chosen:
    device: Literal["auto", "cpu", "cuda"] = "cpu"


def test_a_device_is_one_that_torch_knows_unless_the_command_names_a_choice() -> None:
    check_options(Named())
    check_options(Chosen("auto"))
    with pytest.raises(ValueError, match="device is 'tpu', expected cpu"):
        check_options(Named("tpu"))


def test_a_training_of_a_world_model_finds_its_device_itself() -> None:
    found = parse(TrainWorldModel, "train world-model", ["--data", "d", "--out", "o"])
    assert found == TrainWorldModel(data=Path("d"), out=Path("o"))


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("check-policy", "POLICY is"),
        ("view", "RUN is"),
        ("suite check", "SUITE is"),
        ("convert rlds", "DATA and --out are"),
        ("rollout", "--out is"),
        ("convert rt1", "--source and --out are"),
        ("validate", "WORLD and --data are"),
        ("train policy", "--out and --data.folder are"),
    ],
)
def test_a_word_that_is_missing_is_called_by_its_name(
    command: str, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(command.split())
    assert f"error: {missing} missing; see real2sim {command} --help" in capsys.readouterr().err


def test_a_list_of_numbers_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "imitation", "--data.folder", "d", "--out", "o", "--network.channels", "1.5"])
    assert "error: --network.channels: '1.5' is not what it takes; see" in capsys.readouterr().err


def test_derived_numbers_need_the_states_of_objects() -> None:
    with pytest.raises(ValueError, match="derived names 'hand' and counts only with --object-state"):
        TrainWorldModel(data=Path("d"), out=Path("o"), derived=("hand",))


def test_of_a_list_that_is_given_twice_it_is_said_which_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ["rollout", "--policies", "random", "--policies", "nobody"],
        ["rank", "--tasks=a", "--tasks", "b"],
    ):
        caplog.clear()
        with pytest.raises(SystemExit):
            main([*words, "--out", "o"])
        assert "is given more than once and the last one counts; write all values behind one" in caplog.text
