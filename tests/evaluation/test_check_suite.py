"""What would fail later is found by `suite check`, one sentence each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_rlds import make_rlds

from real2sim.cli import main
from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.episodes.rlds.convert import ConvertRLDS, convert_rlds
from real2sim.evaluation.check_suite import CheckSuite, check_suite
from real2sim.evaluation.make_suite import MakeSuite, make_suite
from real2sim.evaluation.suite_sources import Reading


@pytest.fixture
def suite(tiny_suite: Path, tmp_path: Path) -> Path:
    """A copy of the toy suite, with real rates."""
    folder = tmp_path / "suite"
    shutil.copytree(tiny_suite, folder)
    rows = [
        f"{policy},{task},3,6"
        for policy in ("early", "late", "other")
        for task in ("close_drawer", "open_drawer")
    ]
    (folder / "real_rates.csv").write_text("\n".join(["policy,task,successes,episodes", *rows]) + "\n")
    return folder


def problems(suite: Path, **settings: Any) -> list[str]:
    return [finding.text for finding in check_suite(CheckSuite(str(suite), **settings)) if finding.is_problem]


def edit_arrays(path: Path, **changes: np.ndarray) -> None:
    write_arrays(
        path, {**read_arrays(path), **{name.replace("__", "/"): array for name, array in changes.items()}}
    )


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_sound_suite_has_no_problem(suite: Path) -> None:
    findings = check_suite(CheckSuite(str(suite)))
    assert [finding.text for finding in findings if finding.is_problem] == []
    said = " ".join(str(finding) for finding in findings)
    for words in ("6 starts, 1 instruction", "replay:push on close_drawer", "real rates of 3 policies on 2 tasks",
                  "world model in", "knows all instructions", "3 policies come from 2 training runs"):  # fmt: skip
        assert words in said


def test_a_suite_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is neither a shipped suite"):
        check_suite(CheckSuite(str(tmp_path)))


def test_physics_that_do_not_exist_are_named(suite: Path) -> None:
    edit_json(suite / "suite.json", lambda values: values.update(physics="mujocco"))
    assert problems(suite) == [
        "the suite's physics is 'mujocco', which does not exist; known are drawer, so101"
    ]


def test_start_frames_are_looked_at(suite: Path) -> None:
    frames = read_arrays(suite / "start_frames.npz")["close_drawer/frames"]
    frames[1] = frames[0]
    edit_arrays(suite / "start_frames.npz", close_drawer__frames=frames)
    assert problems(suite) == [
        "task close_drawer: 1 starts have the same frame as another one; draw other episodes"
    ]
    frames[2] = 0
    edit_arrays(suite / "start_frames.npz", close_drawer__frames=frames)
    assert any("the frame of start close_drawer-2 has one colour only" in text for text in problems(suite))
    edit_arrays(suite / "start_frames.npz", close_drawer__frames=frames[:, :8])
    assert any("close_drawer/frames has shape (6, 8, 16, 3)" in text for text in problems(suite))


def test_recordings_that_end_too_early_or_command_too_much_are_found(suite: Path) -> None:
    edit_json(suite / "suite.json", lambda values: values["tasks"][0].update(horizon=9))
    assert problems(suite) == ["replay:push on close_drawer has 5 steps, the task 9"]
    actions = read_arrays(suite / "replays.npz")["open_drawer/pull/actions"]
    edit_arrays(suite / "replays.npz", open_drawer__pull__actions=actions + 5)
    assert "replay:pull on open_drawer has actions outside the robot's bounds" in problems(suite)


def test_rates_of_other_tasks_and_policies_are_named(suite: Path) -> None:
    (suite / "real_rates.csv").write_text("policy,task,successes,episodes\nearly,close_draw,3,6\n")
    found = problems(suite)
    assert "task close_drawer has no real rate; did you mean 'close_draw'?; rates are of close_draw" in found
    assert any(text.startswith("policy late has no real rate") for text in found)
    (suite / "real_rates.csv").write_text("policy,task,successes,episodes\nearly,close_drawer,9,6\n")
    assert any("row 2, column successes is 9, more than the 6 episodes" in text for text in problems(suite))
    (suite / "real_rates.csv").unlink()
    (suite / "real_episodes.csv").write_text("policy,task,start,success\nearly,close_drawer,nowhere,true\n")
    assert any(
        "has an outcome of close_drawer, start 'nowhere', which is no start" in text
        for text in problems(suite)
    )


def test_a_world_model_of_another_size_or_kind_is_found_without_its_weights(suite: Path) -> None:
    edit_json(suite / "world_model" / "config.json", lambda values: values["config"].update(height=32))
    (suite / "world_model" / "model.safetensors").write_bytes(b"damaged")
    assert problems(suite) == [
        f"the world model in {suite / 'world_model'} draws frames of 32 x 16 pixels, the suite has 16 x 16"
    ]
    assert problems(suite, world=str(suite / "judge")) == [
        f"{suite / 'judge'} holds a success_classifier, expected a world model"
    ]


def test_a_judge_that_was_not_taught_an_instruction_is_found(suite: Path) -> None:
    edit_json(
        suite / "suite.json", lambda values: values["tasks"][0].update(instruction="close the top drawer")
    )
    found = problems(suite)
    assert any(
        "the judge was not trained on the instruction 'close the top drawer'" in text for text in found
    )
    assert any(
        "policy early has no embedding of 'close the top drawer'; did you mean 'close drawer'" in text
        for text in found
    )


def test_a_policy_that_is_not_there_is_named(suite: Path) -> None:
    found = problems(suite, policies=("early", "latest", "replay:shove"))
    assert any("unknown policy 'latest'; did you mean 'late'?" in text for text in found)
    assert any("no recorded controller 'shove'" in text for text in found)


def test_start_frames_that_a_training_saw_are_found(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", lengths=(3,) * 5, texts=("do it",))
    convert_rlds(ConvertRLDS(data, tmp_path / "npz", size=(16, 16), processes=1), progress=False)
    make_suite(MakeSuite(data, tmp_path / "suite", starts=2, reading=Reading(size=(16, 16))), progress=False)
    (found,) = problems(tmp_path / "suite", data=(tmp_path / "npz",))
    assert found.startswith(f"2 episodes in {tmp_path / 'npz'} are starts of the suite")
    # Made from the folder itself, the suite notes there what trainings leave out.
    make_suite(MakeSuite(tmp_path / "npz", tmp_path / "other", starts=2), progress=False)
    assert problems(tmp_path / "other", data=(tmp_path / "npz",)) == []


def test_the_command_ends_with_an_error_if_there_is_a_problem(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_json(suite / "suite.json", lambda values: values["tasks"][0].update(horizon=9))
    with pytest.raises(SystemExit) as ended:
        main(["suite", "check", str(suite)])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "problem: replay:push on close_drawer has 5 steps, the task 9" in said.out
    assert "checks of" in said.err and "failed, see above" in said.err


@pytest.mark.parametrize("part", ["world_model", "judge"])
@pytest.mark.parametrize("left", [0, 1000])
def test_weights_that_are_cut_off_are_a_problem(suite: Path, part: str, left: int) -> None:
    weights = suite / part / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    (found,) = problems(suite)
    assert str(weights) in found and "copy it again" in found
