"""Options that cannot be meant are refused before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from damage import edit_tensors

from real2sim.cli import main
from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.rollout_config import RolloutConfig

Refused = Callable[..., str]
RANK = "rank --out {out} --suite {suite} --policies late early --lanes 2 --processes 1"
VALIDATE = "validate {suite}/world_model --data {dataset} --out {out}"
METRICS = (
    "metrics --data {dataset} --model {suite}/world_model --out {out} --horizon 2 --episodes 2 --metrics psnr"
)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (f"{RANK} --judge /nowhere", "/nowhere is no judge; expected a model folder"),
        (f"{RANK} --judge {{suite}}/world_model", "holds a model of kind 'world_model'; expected a judge"),
        ("train policy --data.folder {dataset} --out {out} --network.image-size 1 1", "image_size is 1 x 1 pixels"),
        ("train policy --data.folder {dataset} --out {out} --data.label-noise 1e308", "label_noise must be at most"),
        ("train policy --data.folder {dataset} --out {out} --data.action-scale 1e308", "action_scale must be at most"),
        ("train policy --data.folder {dataset} --out {out} --data.action-delay 100000", "action_delay must be at most"),
        (f"{RANK} --judge {{suite}}", "is no judge; expected a model folder"),
        ("score {run} --judge {dataset}", "is no judge; expected a model folder"),
        ("train policy --data.folder {dataset} --out {out} --batch 0", "batch must be at least 1, got 0"),
        ("train policy --data.folder {dataset} --out {out} --batch 1000000000", "batch must be at most 65536, got"),
        ("train classifier --data {dataset} --out {out} --steps 0", "steps must be at least 1, got 0"),
        ("train gate --data {dataset} --out {out} --batch 100000", "batch must be at most 65536, got 100000"),
        ("train imitation --data.folder {dataset} --out {out} --batch 100000", "batch must be at most 65536, got 100"),
        ("horizon {run} --lengths 2 0", "lengths must be at least 1, got 0"),
        (f"{RANK} --judge ''", "--judge is empty; leave it out or give it a value"),
        (f"{RANK} --tasks close_drawer close_drawer", "tasks names 'close_drawer' twice; name each task once"),
        (f"{RANK} --device tpu", "device is 'tpu', expected cpu, cuda"),
        ("rank --suite {suite} --policies late early --out ''", "--out is empty (is a shell variable unset?)"),
        ("rank --suite {suite} --policies late early --out=", "--out is empty (is a shell variable unset?)"),
        ("rollout --starts 2 --suite {suite} --policies late --out {dataset}", "holds a dataset; a run needs a folder"),
        ("rollout --starts 2 --suite {suite} --policies late --out {suite}", "holds a suite; a run needs a folder"),
        ("rollout --starts 2 --suite {suite} --policies late --out {suite}/judge", "holds a model; a run needs"),
        (f"{VALIDATE} --policies /nowhere", "/nowhere/config.json does not exist"),
        (f"{VALIDATE} --policies {{suite}}/judge", "kind 'success_classifier'; expected a policy"),
        (f"{VALIDATE} --policies {{suite}}/policies/late {{suite}}/policies/late", "late is named twice"),
        (f"{VALIDATE} --device tpu", "device is 'tpu', expected cpu, cuda"),
        (f"{VALIDATE} --gate ''", "--gate is empty (is a shell variable unset?)"),
        ("validate '' --data {dataset} --out {out}", "a path is empty (is a shell variable unset?)"),
        (f"{METRICS} --panel /nowhere", "/nowhere/config.json does not exist"),
        (f"{METRICS} --panel {{suite}}/policies/late", "have 5 steps, a panel needs 10; leave --panel out"),
        (f"{METRICS} --picture-size 0 0", "picture_size must be at least 1, got 0"),
        (f"{METRICS} --device tpu", "device is 'tpu', expected cpu, cuda"),
        ("plan --policies 1000000000", "policies must be at most 1000"),
        ("plan --trials 100000", "trials must be at most 1000"),
        ("plan --alpha 1e-300", "alpha must lie between 0 and 1, by at least 1e-09, got 1e-300"),
        ("serve-policy --policy nope", "'nope' is no policy that can be served; expected the folder of one"),
        ("serve-policy --policy ''", "'' is no policy that can be served"),
        ("serve-policy --policy {suite}/policies/late --suite nowhere", "'nowhere' is neither a shipped suite"),
        ("serve-policy --policy {suite}/policies/late --embeddings /nowhere", "--embeddings is for RT-1's SavedModel"),
        ("serve-policy --policy {suite}/policies/late --host ''", "host is empty"),
        ("serve-policy --policy {suite}/policies/late --host nowhere.invalid", "is no address of this machine"),
        ("label {suite}", "replays.npz has no array 'image'"),
        ("view {run} {suite}", "replays.npz has no array 'image'"),
        (f"{RANK} --first 999", "--first asks for 999 starts of each task in the first round, there are 6"),
        (f"{METRICS} --lpips /nowhere", "--lpips is the network of lpips, which is not asked for"),
        ("metrics --data {dataset} --model {suite}/world_model --out {out} --metrics lpips --lpips /nowhere",
         "--lpips is /nowhere, which is no file"),
        ("label {run} --host nowhere.invalid", "host 'nowhere.invalid' is no address of this machine"),
        ("check-policy ws://127.0.0.1:9#patience=0.1 --suite {suite}", "refused; start the server"),
        (f"{RANK} --world {'w' * 256}", "has a name that is too long for a file"),
        ("rollout --suite {suite} --policies late --out {out}/a\udcffb", "which is no UTF-8 text"),
        ("score a\0b", "which holds a NUL character"),
        ("suite check {suite} --world ''", "--world is empty; leave it out or give it a value"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    command: str, sentence: str, refused: Refused, suite: Path, dataset: Path, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = command.format(out=out, suite=suite, dataset=dataset, run=run).split()
    refused(*("" if word == "''" else word for word in words), about=sentence)
    assert not out.exists()
    assert not list(run.glob("label*"))


def test_a_name_that_a_terminal_cannot_show_is_printed_with_escapes(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import sys

    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(SystemExit):
        main(["score", "r\u00e9sum\u00e9"])
    terminal.seek(0)
    assert "r\\xe9sum\\xe9/run.json does not exist" in terminal.read()


def test_a_suites_folder_is_as_it_was_after_a_run_was_refused_there(refused: Refused, suite: Path) -> None:
    before = sorted(suite.rglob("*"))
    refused(
        *f"rollout --starts 2 --suite {suite} --policies late --out {suite}".split(), about="holds a suite"
    )
    assert sorted(suite.rglob("*")) == before


def test_a_folder_with_files_of_other_programs_may_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("seen")
    RunFolder(tmp_path).open({"suite": "toy"}, {})
    assert (tmp_path / "run.json").is_file()


def test_an_empty_word_is_no_empty_path_where_text_is_expected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "rlds", "/nowhere", "--out", "x", "--episodes", ""])
    assert "/nowhere has no features.json" in capsys.readouterr().err


def test_tasks_named_twice_are_refused_in_python_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tasks names 'open_drawer' twice"):
        RolloutConfig(tmp_path, tasks=("open_drawer", "close_drawer", "open_drawer"))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _overflow(path: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors.update(
            {name: value * 0 + 3e38 for name, value in tensors.items() if value.dtype == torch.float32}
        )

    edit_tensors(path, change)


@pytest.mark.parametrize(("command", "damage"), [("rank", _cut), ("rank", _overflow), ("demo", _overflow)])
def test_a_damaged_judge_is_named_before_episodes_are_drawn(
    suite: Path, tmp_path: Path, refused: Refused, command: str, damage: Callable[[Path], None]
) -> None:
    damage(suite / "judge" / "model.safetensors")
    out = tmp_path / "out"
    words = (
        RANK.format(out=out, suite=suite).split()
        if command == "rank"
        else ["demo", "--out", out, "--suite", suite]
    )
    refused(*map(str, words), about=str(suite / "judge"))
    assert not out.exists()


def test_a_policy_whose_numbers_overflow_is_named(suite: Path, tmp_path: Path, refused: Refused) -> None:
    _overflow(suite / "policies" / "late" / "model.safetensors")
    words = RANK.format(out=tmp_path / "out", suite=suite).split()
    refused(*words, about="policy 'late': the network answers NaN or infinity")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_sentence(unbuffered: str) -> None:
    code = "from real2sim.cli import main; main(['--version'])"
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert ended.returncode == 2
    assert "error: standard output cannot be written (No space left on device)" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_every_policys_weights_are_looked_at_before_the_first_one_acts(
    suite: Path, tmp_path: Path, refused: Refused
) -> None:
    _cut(suite / "policies" / "early" / "model.safetensors")
    words = ["rollout", "--suite", suite, "--policies", "late", "early", "--starts", "1", "--processes", "1"]
    refused(*map(str, words), "--out", str(tmp_path / "out"), about=str(suite / "policies" / "early"))
    assert not (tmp_path / "out").exists()
