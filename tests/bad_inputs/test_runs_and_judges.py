"""Damaged run folders, judges and labels are refused, or drawn again, and never give a number."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import edit_json, edit_tensors, lying_npz

from real2sim.cli import main
from real2sim.episodes.arrays import read_arrays, write_arrays

Refused = Callable[..., str]

SETTINGS = [
    ("identity", ...), ("identity", "x"), ("identity.seed", -1), ("identity.policies", ["late"]), ("config", ...),
    ("config", 5), ("config.suite", 5), ("config.suite", ...), ("format", 99), ("format", "1"), ("versions", 3),
]  # fmt: skip


@pytest.mark.parametrize("command", ["rollout", "score", "report"])
@pytest.mark.parametrize(("field", "value"), SETTINGS)
def test_settings_of_a_run_that_were_changed(
    run: Path, tmp_path: Path, tiny_suite: Path, refused: Refused, field: str, value: Any, command: str
) -> None:
    edit_json(run / "run.json", field, value)
    commands = {
        "rollout": ["rollout", "--out", str(run), "--suite", str(tiny_suite), "--starts", "3", "--processes", "1",
                    "--policies", "random", "late"],
        "score": ["score", str(run)],
        "report": ["report", str(run), "--out", str(tmp_path / "report")],
    }  # fmt: skip
    if command == "rollout" and field == "config.suite":
        pytest.skip("a rollout is told its suite")
    refused(*commands[command], about=str(run / "run.json"))
    assert not (tmp_path / "report").exists()


ROWS = [
    ("rows-0.jsonl", "steps", "x"), ("rows-0.jsonl", "seed", -1), ("rows-0.jsonl", "policy", None),
    ("rows-0.jsonl", "episode", "../../x"), ("rows-0.jsonl", "terminated", 1), ("rows-0.jsonl", "seconds", math.nan),
    ("scores-classifier.jsonl", "probability", 7), ("scores-classifier.jsonl", "probability", math.nan),
    ("scores-classifier.jsonl", "probability", "1"), ("scores-classifier.jsonl", "judge", None),
    ("scores-classifier.jsonl", "success", "yes"), ("scores-classifier.jsonl", "episode", 3),
]  # fmt: skip


@pytest.mark.parametrize(("file", "field", "value"), ROWS)
def test_rows_that_were_changed(
    run: Path, tmp_path: Path, refused: Refused, file: str, field: str, value: Any
) -> None:
    lines = (run / file).read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), field: value})
    (run / file).write_text("\n".join(lines) + "\n")
    refused("report", str(run), "--out", str(tmp_path / "report"), about=f"{run / file}, line 2")
    assert not (tmp_path / "report").exists()


def damaged(path: Path, kind: str) -> None:
    arrays, content = read_arrays(path), path.read_bytes()
    path.unlink()
    if kind in ("empty", "half", "flipped"):
        middle = len(content) // 2
        flipped = (
            content[:middle]
            + bytes(255 - byte for byte in content[middle : middle + 9])
            + content[middle + 9 :]
        )
        path.write_bytes({"empty": b"", "half": content[:middle], "flipped": flipped}[kind])
    elif kind == "lying":
        lying_npz(path, "frames")
    elif kind != "gone":
        frames = arrays["frames"]
        others = {
            "float": {**arrays, "frames": frames.astype(np.float32)},
            "large": {**arrays, "frames": frames.repeat(2, axis=1)},
            "flat": {**arrays, "frames": frames.reshape(-1)},
            "short": {**arrays, "frames": frames[:-2]},
            "no actions": {"frames": frames},
            "NaN": {**arrays, "actions": arrays["actions"] * np.nan},
        }
        write_arrays(path, others[kind])


KINDS = ["gone", "empty", "half", "flipped", "lying", "float", "flat", "short", "no actions", "NaN", "large"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_episode_is_refused_by_the_judge_and_drawn_again_by_the_rollout(
    run: Path, tiny_suite: Path, refused: Refused, kind: str
) -> None:
    path = sorted((run / "episodes").glob("late-*"))[0]
    before = read_arrays(path)
    damaged(path, kind)
    (run / "scores-classifier.jsonl").unlink()
    refused("score", str(run), about=str(path))
    words = ["--suite", str(tiny_suite), "--starts", "2", "--processes", "1", "--lanes", "2"]
    main(["rollout", "--out", str(run), "--policies", "random", "late", *words])
    np.testing.assert_array_equal(read_arrays(path)["frames"], before["frames"])
    main(["score", str(run)])


LABELS = {
    "empty": b"",
    "only headings": b"episode,label\n",
    "UTF-16": "episode,label\na,success\n".encode("utf-16"),
    "latin-1": "episode,label\n\xe9,success\n".encode("latin-1"),
    "binary": bytes(range(256)),
    "NUL": b"episode,label\na\0,success\n",
    "a long field": b"episode,label\n" + b"a" * 200_000 + b",success\n",
    "another column": b"episode,verdict\na,success\n",
    "another word": b"episode,label\na,good\n",
    "twice": b"episode,label\na,success\na,failure\n",
    "a workbook": b"PK\x03\x04" + bytes(99),
}


@pytest.mark.parametrize("kind", list(LABELS))
def test_labels_that_cannot_be_read(run: Path, tmp_path: Path, refused: Refused, kind: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(LABELS[kind])
    refused("score", str(run), "--judge", str(path), about=str(path))
    assert not (run / "scores-human.jsonl").exists()


JUDGE = [
    ("recent", "3"), ("recent", 0), ("recent", 10**9), ("softness", 0), ("softness", math.nan), ("joint_range", 0),
    ("calibration.offset", math.nan), ("calibration.offset", "a"), ("calibration.scale", 0), ("widths", [8, 8]),
    ("widths", [8, 8, -8]), ("hidden", 10**8), ("image_size", [16, 17]), ("goals", []), ("goals.0.instruction", None),
    ("goals.0.threshold", math.nan), ("unknown", 1),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), JUDGE)
def test_a_judge_with_an_impossible_configuration(
    run: Path, suite: Path, refused: Refused, field: str, value: Any
) -> None:
    edit_json(suite / "judge" / "config.json", f"config.{field}", value)
    refused("score", str(run), "--judge", str(suite / "judge"), about=str(suite / "judge"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_judge_with_weights_that_are_not_finite(
    run: Path, suite: Path, refused: Refused, value: float
) -> None:
    path = suite / "judge" / "model.safetensors"

    def change(tensors: dict[str, Any]) -> None:
        name = next(iter(tensors))
        tensors[name] = tensors[name] * 0 + value

    edit_tensors(path, change)
    refused("score", str(run), "--judge", str(suite / "judge"), about=f"{path}: tensor")


def test_a_report_is_not_written_over_a_file(run: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "page").write_text("mine")
    refused("report", str(run), "--out", str(tmp_path / "page"), about=str(tmp_path / "page"))
    assert (tmp_path / "page").read_text() == "mine"


def test_rows_that_give_one_episode_to_two_policies(run: Path, tmp_path: Path, refused: Refused) -> None:
    path = run / "rows-0.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    path.write_text(path.read_text() + json.dumps({**first, "policy": "another"}) + "\n")
    for words in (["report", run, "--out", tmp_path / "report"], ["score", run]):
        assert "is of policy 'another', another row says" in refused(*words, about=str(path))


def test_a_run_without_rows_is_not_said_to_have_several_judges(
    run: Path, tmp_path: Path, refused: Refused
) -> None:
    (run / "rows-0.jsonl").unlink()
    assert "holds no episodes" in refused("report", run, "--out", tmp_path / "report", about=str(run))


def test_settings_whose_state_is_no_text(run: Path, tmp_path: Path, refused: Refused) -> None:
    settings = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**settings, "state": ["x"]}))
    refused("report", run, "--out", tmp_path / "report", about="run.json: field state is")


def test_a_file_of_rows_that_links_to_itself_is_named(run: Path, tiny_suite: Path, refused: Refused) -> None:
    (run / "rows-7.jsonl").symlink_to("rows-7.jsonl")
    options = ["--suite", tiny_suite, "--policies", "late", "--starts", "2", "--processes", "1"]
    assert "cannot be read" in refused("rollout", "--out", run, *options, about=str(run / "rows-7.jsonl"))


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"policies": []}', '{"policies": {"late": {"close_drawer": 3}}}']
)
def test_measured_consistency_of_another_form(
    run: Path, tmp_path: Path, refused: Refused, content: str
) -> None:
    (run / "consistency.json").write_text(content)
    said = refused("report", run, "--out", tmp_path / "report", about=str(run / "consistency.json"))
    assert "remove the file" in said


def test_a_file_in_the_place_of_the_episodes_is_named(run: Path, tiny_suite: Path, refused: Refused) -> None:
    shutil.rmtree(run / "episodes")
    (run / "episodes").write_text("x")
    options = ["--suite", tiny_suite, "--policies", "late", "--starts", "2", "--processes", "1"]
    refused(
        "rollout", "--out", run, *options, about=f"{run / 'episodes'} cannot be written: a file has the name"
    )


HORIZON = "episode,policy,task,steps,success,real_success\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "has no column policy, task, steps, success, real_success"),
        (HORIZON, "holds headings and no row"),
        ("", "is empty"),
        (HORIZON + "e,late,close_drawer,2.5,True,False\n", "steps must be whole numbers of at least 1, found '2.5'"),
        (HORIZON + "e,late,close_drawer,2,True,perhaps\n", "real_success: expected true or false, found 'perhaps'"),
        (HORIZON + "e,late,close_drawer,2,perhaps,True\n", "row 2, column success is 'perhaps'"),
        (HORIZON + "e,,close_drawer,2,True,True\n", "row 2, column policy is empty"),
    ],
)  # fmt: skip
def test_damaged_outcomes_along_the_way_are_named_by_file(
    run: Path, refused: Refused, tmp_path: Path, text: str, sentence: str
) -> None:
    (run / "horizon.csv").write_text(text)
    said = refused("report", str(run), "--out", str(tmp_path / "report"), about=sentence)
    assert str(run / "horizon.csv") in said
