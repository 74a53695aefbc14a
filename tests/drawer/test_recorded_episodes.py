"""The recorded episodes that the drawer suite ships, and how they are picked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_drawer_suite import RECORDED_BY, RECORDED_PER_TASK, copy_recorded, main
from real2sim.actions import rt1_robot
from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.episodes.npz import dataset_files, dataset_robot
from real2sim.evaluation.check_policy import CheckPolicy, check_lines, check_policy
from real2sim.evaluation.consistency import RECORDED_FOLDER, read_limit
from real2sim.metrics.policy_consistency import DEPTHS, RecordedEpisodes
from real2sim.robot_match import check_same_robot
from real2sim.simulation.suite import load_suite


def test_the_suite_ships_recorded_episodes_of_both_tasks_that_none_of_its_starts_begins() -> None:
    suite = load_suite("drawer")
    folder = suite.folder / RECORDED_FOLDER
    check_same_robot(dataset_robot(folder), "recorded", suite.robot, "the suite")
    recorded = RecordedEpisodes.from_folder(folder, suite)
    assert [len(recorded.of(task.name)) for task in suite.tasks] == [RECORDED_PER_TASK] * 2
    assert recorded.actions.shape[1] > max(DEPTHS)
    assert recorded.states is not None  # the world model begins from them
    starts = {start.frame.tobytes() for task in suite.tasks for start in suite.starts(task.name)}
    assert not starts & {frame.tobytes() for frame in recorded.frames[:, 0]}
    assert {str(read_arrays(path, ["controller"])["controller"]) for path in dataset_files(folder)} <= set(
        RECORDED_BY
    )
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_500_000


def test_the_suite_says_how_far_a_policy_may_be_led_astray_and_what_that_rests_on() -> None:
    limit = read_limit(load_suite("drawer"))
    assert limit is not None
    assert limit.policies >= 10
    assert "too low" in limit.source


def test_a_shipped_policy_can_be_checked_on_them() -> None:
    check = check_policy(CheckPolicy("stack"))
    assert check.warnings == ()
    assert check.source.startswith("10 moments of 10 recorded episodes in ")
    y = next(number for number in check.numbers if number.name == "world_vector.y")
    assert y.correlation is not None
    assert y.correlation > 0.5
    assert "beside what was done then" in check_lines(check)


def episode(controller: str, task: str) -> dict[str, np.ndarray]:
    return {
        "image": np.zeros((3, 8, 8, 3), np.uint8),
        "action": np.zeros((3, 13), np.float32),
        "state": np.zeros((3, 2), np.float32),
        "state_names": np.array(["hand", "drawer"]),
        "expert_close": np.zeros((3, 13), np.float32),
        "instruction": np.array(task.replace("_", " ")),
        "task": np.array(task),
        "success": np.array(True),
        "controller": np.array(controller),
    }


def test_the_first_episodes_of_controllers_that_do_nothing_but_their_task_are_picked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heldout = tmp_path / "heldout"
    rt1_robot(image_size=(8, 8)).save(heldout)
    number = 0
    for _ in range(RECORDED_PER_TASK + 1):
        for controller in ("wander", "expert"):
            for task in ("close_drawer", "open_drawer"):
                write_arrays(heldout / f"episode_{number:05d}.npz", episode(controller, task))
                number += 1
    monkeypatch.setattr("sys.argv", ["make", "--out", str(tmp_path), "--recorded", str(heldout)])
    main()
    picked = [read_arrays(path, ["controller", "task"]) for path in dataset_files(tmp_path / "recorded")]
    assert Counter(str(arrays["task"]) for arrays in picked) == {
        "close_drawer": RECORDED_PER_TASK,
        "open_drawer": RECORDED_PER_TASK,
    }
    assert {str(arrays["controller"]) for arrays in picked} == {"expert"}
    with pytest.raises(KeyError):
        np.load(dataset_files(tmp_path / "recorded")[0])["expert_close"]
    for path in dataset_files(heldout)[:8]:
        path.unlink()
    with pytest.raises(ValueError, match="such episodes, expected 8 of each task"):
        copy_recorded(heldout, tmp_path / "again")
