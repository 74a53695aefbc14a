"""``real2sim score --device``: where classifier and gate run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from real2sim import cli
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.success.classifier import SuccessClassifier


@pytest.fixture
def run(tiny_suite: Path, tmp_path: Path) -> Path:
    config = RolloutConfig(
        tmp_path / "run", ("replay:push",), str(tiny_suite), starts=1, processes=1, consistency=False
    )
    rollout(config, progress=False)
    return tmp_path / "run"


@pytest.mark.parametrize(("words", "device"), [((), "cpu"), (("--device", "cuda:1"), "cuda:1")])
def test_the_classifier_is_opened_on_the_device(
    run: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], device: str
) -> None:
    opened: list[str] = []
    plain = SuccessClassifier.from_folder

    def opens(folder: Path, name: str = "classifier", device: str = "cpu") -> Any:
        opened.append(device)
        return plain(folder, name)

    monkeypatch.setattr(SuccessClassifier, "from_folder", opens)
    monkeypatch.setattr("real2sim.evaluation.score_runs.check_device", lambda name: name)
    cli.main(["score", str(run), *words])
    assert opened == [device]
    assert len(list(run.glob("scores-*.jsonl"))) == 1


@pytest.mark.parametrize(
    ("device", "said"), [("cuda:999", "torch sees no such GPU"), ("gpu", "expected cpu, cuda")]
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_judged(
    run: Path, capsys: pytest.CaptureFixture[str], device: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["score", str(run), "--device", device])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(run.glob("scores-*.jsonl"))
