# ruff: noqa: E501 - sentences are matched whole
"""Recorded episodes of all three kinds become suites that can be rolled out at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from make_lerobot import edit_info, grey, make_v2, make_v3, numbers
from make_rlds import make_rlds
from PIL import Image

from real2sim.cli import main
from real2sim.episodes.keep_out import for_training, kept_out, read_keep_out
from real2sim.episodes.lerobot.convert import ConvertLeRobot, convert_lerobot
from real2sim.episodes.npz import dataset_files, read_dataset
from real2sim.episodes.rlds.convert import ConvertRLDS, convert_rlds
from real2sim.episodes.run_folder import load_run
from real2sim.evaluation.contact_sheet import LINE, MARGIN, TILE_HEIGHT
from real2sim.evaluation.make_suite import MakeSuite, make_suite
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.evaluation.suite_sources import Reading
from real2sim.robot import read_robot
from real2sim.simulation.suite import load_suite

DRAWERS = ("close the top drawer", "pick the apple", "close the middle drawer", "close the bottom drawer")


def make(source: Path, out: Path, **settings: Any) -> dict[str, int]:
    return make_suite(MakeSuite(source, out, **settings), progress=False)


@pytest.fixture
def fractal(tmp_path: Path) -> Path:
    """Eight episodes of RT-1's form: six of three drawer instructions, two of another one."""
    return make_rlds(
        tmp_path / "fractal", lengths=(4, 3, 5, 6, 3, 4, 5, 3), texts=DRAWERS, success=True, embedding=True
    )


def test_one_task_may_have_several_instructions(fractal: Path, tmp_path: Path) -> None:
    counts = make(
        fractal, tmp_path / "suite", task=("close_drawer=close .* drawer",), starts=6, horizon=9, reading=Reading(size=(16, 16))
    )  # fmt: skip
    assert counts == {"close_drawer": 6}
    suite = load_suite(tmp_path / "suite")
    starts = suite.starts("close_drawer")
    assert [start.id for start in starts] == ["000000", "000002", "000003", "000004", "000006", "000007"]
    assert [start.instruction for start in starts] == [DRAWERS[i] for i in (0, 2, 3, 0, 2, 3)]
    assert suite.task("close_drawer").horizon == 9
    assert suite.robot.name == "rt1" and suite.robot.canvas_size == (16, 16)
    with np.load(tmp_path / "suite" / "embeddings.npz") as vectors:
        assert sorted(vectors.files) == sorted(set(DRAWERS) - {"pick the apple"})


def test_recordings_are_replayed_for_as_long_as_they_are(
    fractal: Path, tiny_suite: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "suite"
    make(fractal, suite, task=("close=close",), starts=6, horizon=2, reading=Reading(size=(16, 16)))
    rollout(
        RolloutConfig(
            tmp_path / "run", policies=("replay:recorded", "random"), suite=str(suite), starts="all",
            world=str(tiny_suite / "world_model"), processes=1, lanes=4,
        ),
        progress=False,
    )  # fmt: skip
    table = load_run(tmp_path / "run")
    replays = table[table["policy"] == "replay:recorded"].set_index("start")["steps"]
    # One step fewer than frames, whatever the task's horizon.
    assert replays.to_dict() == {"000000": 3, "000002": 4, "000003": 5, "000004": 2, "000006": 4, "000007": 2}
    assert set(table[table["policy"] == "random"]["steps"]) <= {1, 2}
    assert table.set_index("start")["instruction"]["000003"].iloc[0] == "close the bottom drawer"


def test_recorded_outcomes_are_the_real_ones_of_replays(fractal: Path, tmp_path: Path) -> None:
    make(fractal, tmp_path / "suite", task=("close=close",), starts=6, reading=Reading(size=(16, 16)))
    episodes = pd.read_csv(tmp_path / "suite" / "real_episodes.csv", dtype=str)
    # The dataset knows the outcomes of its first two episodes only.
    assert episodes.to_dict("records") == [
        {"policy": "replay:recorded", "task": "close", "start": "000000", "success": "True"}
    ]
    rates = pd.read_csv(tmp_path / "suite" / "real_rates.csv")
    assert rates[["policy", "task", "success_rate", "n_trials"]].values.tolist() == [
        ["replay:recorded", "close", 1, 1]
    ]


def test_simplers_real_rates_are_found_under_their_own_task_name(fractal: Path, tmp_path: Path) -> None:
    make(
        fractal, tmp_path / "suite", task=("close_drawer=close",), starts=3, real="simpler:google_robot",
        match=("close_drawer=google_robot_close_drawer", "begin=rt-1-begin"), reading=Reading(size=(16, 16)),
    )  # fmt: skip
    rates = pd.read_csv(tmp_path / "suite" / "real_rates.csv").set_index("policy")
    assert set(rates["task"]) == {"close_drawer"}
    assert {"begin", "rt-1-15pct", "rt-1-converged"} <= set(rates.index)
    assert rates.loc["rt-1-converged", "n_trials"] == 27
    with pytest.raises(
        ValueError,
        match=r"has no rate of close_drawer; its tasks are google_robot_.*--match close_drawer=THEIRS",
    ):
        make(
            fractal, tmp_path / "other", task=("close_drawer=close",), starts=3, real="simpler:google_robot",
            reading=Reading(size=(16, 16)),
        )  # fmt: skip
    assert not (tmp_path / "other").exists()


def test_a_lerobot_dataset_gives_starts_with_their_state(tmp_path: Path) -> None:
    make_v3(tmp_path / "data", lengths=(31, 25, 41, 33))
    counts = make(
        tmp_path / "data",
        tmp_path / "suite",
        starts=2,
        reading=Reading(cameras=("wrist",), hz=3, size=(32, 48)),
    )
    assert counts == {"push_the_block": 2, "pull_the_block": 2}
    suite = load_suite(tmp_path / "suite")
    start = suite.starts("pull_the_block")[1]
    assert start.id == "000003" and start.instruction == "Pull the block."
    assert start.robot_state is not None
    assert np.array_equal(start.robot_state, numbers(3, 1)[1][0])
    assert abs(start.frame.mean() - grey(1, 3, 0)) <= 2
    assert suite.replays("pull_the_block")["recorded"].shape == (2, 3, 10, 3)
    assert suite.replay_steps("pull_the_block", "recorded").tolist() == [2, 3]  # type: ignore[union-attr]
    assert np.array_equal(suite.replays("pull_the_block")["recorded"][1].reshape(-1, 3), numbers(3, 30)[0])


@pytest.mark.parametrize("kind", ["lerobot", "rlds"])
def test_a_suite_from_a_dataset_equals_one_from_its_conversion(kind: str, tmp_path: Path) -> None:
    if kind == "lerobot":
        data = make_v2(tmp_path / "data", lengths=(12, 7, 10, 9), outcomes=True)
        convert_lerobot(
            ConvertLeRobot(data, tmp_path / "npz", hz=10, size=(32, 48), processes=1), progress=False
        )
        reading = Reading(hz=10, size=(32, 48))
    else:
        data = make_rlds(
            tmp_path / "data", "bridge", lengths=(4, 5, 3, 6), texts=("close it", "open it"), success=True
        )
        convert_rlds(ConvertRLDS(data, tmp_path / "npz", size=(12, 16), processes=1), progress=False)
        reading = Reading(size=(12, 16))
    make(data, tmp_path / "direct", starts=2, reading=reading)
    make(tmp_path / "npz", tmp_path / "converted", starts=2)
    for name in ("start_frames.npz", "replays.npz"):
        with np.load(tmp_path / "direct" / name) as one, np.load(tmp_path / "converted" / name) as other:
            assert one.files == other.files
            for array in one.files:
                assert np.array_equal(one[array], other[array]), array
    for name in ("robot.json", "real_episodes.csv", "keep_out.json"):
        assert (tmp_path / "direct" / name).read_text() == (tmp_path / "converted" / name).read_text()


def test_training_does_not_see_the_starts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    make_v3(tmp_path / "data", lengths=(12,) * 6)
    convert_lerobot(
        ConvertLeRobot(tmp_path / "data", tmp_path / "npz", size=(16, 16), processes=1), progress=False
    )
    make(tmp_path / "npz", tmp_path / "suite", starts=1)
    names = kept_out(tmp_path / "npz")
    assert len(names) == 2
    files = dataset_files(tmp_path / "npz")
    assert len(files) == 6
    assert [path.name for path in for_training(files)] == [
        path.name for path in files if path.name not in names
    ]
    assert len(read_dataset(tmp_path / "npz", ("image",))["image"]) == 4
    assert (
        f"2 of 6 episodes in {tmp_path / 'npz'} are starts of suites and are left out of training"
        in caplog.text
    )
    again = ConvertLeRobot(
        tmp_path / "data", tmp_path / "rest", size=(16, 16), keep_out=(tmp_path / "suite",), processes=1
    )
    assert convert_lerobot(again, progress=False) == 4
    assert not {path.name for path in (tmp_path / "rest").glob("*.npz")} & names


def test_the_list_of_starts_names_dataset_and_episode(fractal: Path, tmp_path: Path) -> None:
    make(fractal, tmp_path / "suite", task=("apple=apple",), starts=2, reading=Reading(size=(16, 16)))
    assert read_keep_out(tmp_path / "suite") == {"made_up/0.1.0/train/1", "made_up/0.1.0/train/5"}
    kept = ConvertRLDS(fractal, tmp_path / "npz", keep_out=(tmp_path / "suite",), processes=1)
    assert convert_rlds(kept, progress=False) == 6


def test_the_draw_depends_on_the_seed_alone(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", lengths=(3,) * 12, texts=("do it",))

    def ids(name: str, seed: int) -> list[str]:
        make(data, tmp_path / name, starts=4, seed=seed)
        return [start.id for start in load_suite(tmp_path / name).starts("do_it")]

    assert ids("a", 0) == ids("b", 0) != ids("c", 1)


def test_the_contact_sheet_shows_every_start(fractal: Path, tmp_path: Path) -> None:
    make(fractal, tmp_path / "suite", task=("close=close",), starts=6, reading=Reading(size=(16, 16)))
    sheet = np.asarray(Image.open(tmp_path / "suite" / "contact_sheet.png").convert("L"), float)
    upper = MARGIN + 2 * LINE
    for place, start in enumerate(load_suite(tmp_path / "suite").starts("close")):
        left = MARGIN + place * (TILE_HEIGHT + MARGIN)
        tile = sheet[upper : upper + TILE_HEIGHT, left : left + TILE_HEIGHT]
        assert abs(tile.mean() - start.frame.mean()) < 1
        # The id and the instruction are written below.
        assert sheet[upper + TILE_HEIGHT :, left : left + TILE_HEIGHT].min() < 60


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"task": ("a=close", "b=top")}, "the instruction 'close the top drawer' belongs to tasks a and b"),
        (
            {"task": ("a=fly",)},
            "task 'a' has 0 episodes .* 2 starts were asked for.*frequent instructions are 'close the top",
        ),
        ({"task": ("close",)}, "--task is 'close', expected NAME=REGEX"),
        ({"task": ("a=(",)}, r"--task has '\(', which is not a regular expression"),
        ({"task": ("a=close",), "starts": 7}, "task 'a' has 6 episodes of two frames or more, 7 starts"),
        ({"task": ("a=close",), "real": "simpler:franka"}, "names no robot of the SIMPLER study"),
        ({"task": ("a=close",), "real": "nothing.csv"}, "--real is nothing.csv, which is no file"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is_written(
    fractal: Path, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        make(fractal, tmp_path / "suite", **{"starts": 2, "reading": Reading(size=(16, 16)), **settings})
    assert not (tmp_path / "suite").exists()


def test_a_suite_is_not_overwritten_and_a_folder_that_is_no_dataset_is_named(
    fractal: Path, tmp_path: Path
) -> None:
    make(fractal, tmp_path / "suite", task=("close=close",), starts=2)
    with pytest.raises(ValueError, match="holds a suite already, which runs may refer to"):
        make(fractal, tmp_path / "suite", task=("close=close",), starts=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match="is no dataset; expected a dataset folder with npz files, a LeRobot"
    ):
        make(tmp_path / "empty", tmp_path / "other")


def test_options_of_reading_are_refused_for_a_folder_that_was_converted(
    fractal: Path, tmp_path: Path
) -> None:
    convert_rlds(ConvertRLDS(fractal, tmp_path / "npz", size=(16, 16), processes=1), progress=False)
    with pytest.raises(
        ValueError, match="is a dataset folder, whose frames and actions are as they were converted"
    ):
        make(tmp_path / "npz", tmp_path / "suite", reading=Reading(size=(8, 8)))


def test_the_robot_of_the_training_data_can_be_asked_for(tmp_path: Path) -> None:
    data = make_v3(tmp_path / "data", lengths=(12,) * 4)
    convert_lerobot(ConvertLeRobot(data, tmp_path / "npz", hz=10, size=(16, 16), processes=1), progress=False)
    reading = Reading(hz=10, size=(16, 16))
    make(data, tmp_path / "suite", starts=2, robot=tmp_path / "npz", reading=reading)
    assert read_robot(tmp_path / "suite") == read_robot(tmp_path / "npz")
    with pytest.raises(ValueError, match=r"do not fit: .*actions_per_frame"):
        make(data, tmp_path / "other", starts=2, robot=tmp_path / "npz", reading=Reading(size=(16, 16)))


def test_the_commands_make_and_check_a_suite(
    fractal: Path, tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, world = tmp_path / "suite", tiny_suite / "world_model"
    main(
        f"suite make {fractal} --out {suite} --task close_drawer=close --starts 4 --size 16 16 --real simpler:google_robot "
        "--match close_drawer=google_robot_close_drawer".split()
    )
    said = capsys.readouterr().out
    assert "close_drawer: 4 starts" in said and "contact_sheet.png" in said
    main(f"suite check {suite} --world {world} --policies random replay:recorded".split())
    said = capsys.readouterr().out
    assert "problem" not in said
    assert f"the world model in {world} fits" in said


def test_episodes_that_a_lerobot_dataset_cannot_number_are_refused(tmp_path: Path) -> None:
    data = make_v3(tmp_path / "data", lengths=(3, 3))
    edit_info(data, total_episodes=5)
    with pytest.raises(ValueError, match="total_episodes is 5"):
        make(data, tmp_path / "suite", starts=1)
    assert json.loads((data / "meta" / "info.json").read_text())["total_episodes"] == 5


def recorded_with_states(folder: Path, names: tuple[str, ...]) -> Path:
    """A dataset folder of RT-1's robot whose episodes hold a state of two numbers that policies are not given."""
    folder.mkdir()
    for number in range(3):
        np.savez(
            folder / f"episode_{number:05d}.npz",
            image=np.full((4, 16, 16, 3), number, np.uint8),
            action=np.zeros((4, 13), np.float32),
            state=np.array([[number, 10 + t] for t in range(4)], np.float32),
            state_names=np.array(names),
            instruction="close drawer",
            success=number > 0,
        )
    return folder


def test_a_state_that_only_world_models_are_told_reaches_the_starts(tmp_path: Path) -> None:
    make(recorded_with_states(tmp_path / "data", ("finger", "drawer")), tmp_path / "suite", starts=3)
    starts = load_suite(tmp_path / "suite").starts("close_drawer")
    assert [dict(start.measured) for start in starts] == [{"finger": n, "drawer": 10} for n in range(3)]
    assert all(start.robot_state is None for start in starts)


def test_names_that_do_not_fit_a_state_are_refused(tmp_path: Path) -> None:
    data = recorded_with_states(tmp_path / "data", ("finger", "drawer", "hand"))
    with pytest.raises(
        ValueError, match=r"episode_\d+.npz: state_names holds 3 names for a state of 2 numbers"
    ):
        make(data, tmp_path / "suite", starts=3)
    assert not (tmp_path / "suite").exists()


@pytest.mark.parametrize("step", ["write_arrays", "write_contact_sheet"])
def test_a_suite_that_cannot_be_written_to_its_end_leaves_nothing(
    fractal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    wanted: dict[str, Any] = {
        "task": ("close=close",),
        "starts": 2,
        "horizon": 3,
        "reading": Reading(size=(16, 16)),
    }
    with monkeypatch.context() as patched:
        patched.setattr(f"real2sim.evaluation.make_suite.{step}", full)
        with pytest.raises(OSError, match="No space"):
            make(fractal, tmp_path / "suites" / "mine", **wanted)
    assert not (tmp_path / "suites").exists()
    assert make(fractal, tmp_path / "suites" / "mine", **wanted) == {"close": 2}
