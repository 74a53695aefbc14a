from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.simulation.suite import Start, Suite, SuiteConfig, Task, load_suite, write_suite


def test_a_suite_is_read_as_it_was_written(tmp_path: Path) -> None:
    task = Task("lift", "lift the cup", 7)
    config = SuiteConfig(
        "kitchen", (task,), (8, 8), 5.0, ("world_vector",), {"world_vector": (-0.1, 0.2)}, "robot"
    )
    frame = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    write_suite(
        tmp_path,
        config,
        {"lift": [Start(task, "a", frame, np.arange(3.0)), Start(task, "b", frame + 1, np.ones(3))]},
    )
    suite = load_suite(tmp_path)
    assert suite.config == config
    second = suite.starts("lift")[1]
    assert (second.id, second.task) == ("b", task)
    np.testing.assert_array_equal(second.frame, frame + 1)
    np.testing.assert_array_equal(second.state, np.ones(3))
    robot = suite.robot
    assert robot.low[10:].tolist() == pytest.approx([-0.1] * 3)
    assert robot.high[10:].tolist() == pytest.approx([0.2] * 3)
    assert robot.used.nonzero()[0].tolist() == [10, 11, 12]
    assert (robot.canvas_size, robot.control_hz) == ((8, 8), 5.0)


def test_fewer_starts_are_the_first_ones(tiny_suite: Path) -> None:
    suite = Suite.from_folder(tiny_suite)
    ids = [start.id for start in suite.starts("close_drawer")]
    assert [start.id for start in suite.starts("close_drawer", 2)] == ids[:2]


def test_the_shipped_suite_has_both_drawer_tasks_and_enough_starts() -> None:
    suite = load_suite("drawer")
    assert {task.instruction for task in suite.tasks} == {"close drawer", "open drawer"}
    for task in suite.tasks:
        starts = suite.starts(task.name)
        assert len(starts) >= 100
        assert starts[0].frame.shape == (64, 64, 3)
        assert starts[0].state is not None
        assert len(suite.replays(task.name)) >= 7
        for actions in suite.replays(task.name).values():
            assert actions.shape == (len(starts), task.horizon, 13)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"close_drawer/ids": None}, "has no array 'close_drawer/ids'"),
        ({"close_drawer/ids": np.array(["a"] * 6)}, "are not all different"),
        ({"close_drawer/frames": np.zeros((6, 8, 8, 3), np.uint8)}, r"expected uint8 \(6, 16, 16, 3\)"),
        ({"close_drawer/frames": np.zeros((6, 16, 16, 3))}, "type float64"),
    ],
)
def test_wrong_start_frames_are_one_sentence(
    tiny_suite: Path, tmp_path: Path, change: dict[str, np.ndarray | None], complaint: str
) -> None:
    arrays = {**read_arrays(tiny_suite / "start_frames.npz"), **change}
    shutil.copy(tiny_suite / "suite.json", tmp_path)
    write_arrays(
        tmp_path / "start_frames.npz", {name: value for name, value in arrays.items() if value is not None}
    )
    with pytest.raises(ValueError, match=complaint):
        Suite.from_folder(tmp_path).starts("close_drawer")


def test_a_truncated_file_is_named(tiny_suite: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_suite / "suite.json", tmp_path)
    content = (tiny_suite / "start_frames.npz").read_bytes()
    (tmp_path / "start_frames.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"start_frames\.npz cannot be read as npz"):
        Suite.from_folder(tmp_path).starts("close_drawer")


def test_more_recordings_than_starts_are_refused(tiny_suite: Path, tmp_path: Path) -> None:
    for name in ("suite.json", "start_frames.npz"):
        shutil.copy(tiny_suite / name, tmp_path)
    write_arrays(tmp_path / "replays.npz", {"close_drawer/push/actions": np.zeros((7, 5, 13), np.float32)})
    with pytest.raises(ValueError, match="has 7 episodes for 6 starts"):
        Suite.from_folder(tmp_path).replays("close_drawer")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"tasks": ()}, "expected tasks with different names"),
        ({"tasks": (Task("a", "x"), Task("a", "y"))}, "expected tasks with different names"),
        ({"used_fields": ("gripper",)}, "unknown action field 'gripper'"),
        ({"limits": {"gripper": (0.0, 1.0)}}, "unknown action field 'gripper'"),
    ],
)
def test_a_suite_that_makes_no_sense_is_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SuiteConfig(**({"name": "s", "tasks": (Task("a", "x"),)} | fields))  # type: ignore[arg-type]


def test_a_task_needs_a_step() -> None:
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        Task("a", "x", 0)
