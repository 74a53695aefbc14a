"""LeRobot datasets of every version become dataset folders, frame by frame and number by number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_lerobot import (
    CAMERAS,
    MAKERS,
    MOTORS,
    SIZE,
    TASKS,
    edit_info,
    frames,
    grey,
    make_v2,
    make_v3,
    numbers,
)

from real2sim.cli import main
from real2sim.episodes.lerobot.convert import ConvertLeRobot, convert_lerobot
from real2sim.episodes.lerobot.layout import flat_names, read_layout
from real2sim.episodes.lerobot.recording import Recording
from real2sim.episodes.lerobot.writer import LeRobotWriter
from real2sim.robot import read_robot

CLOSE = 3
"""Grey levels by which a lossy video may miss; neighbouring frames differ by 4 and are never mistaken."""


def convert(data: Path, out: Path, **settings: Any) -> int:
    return convert_lerobot(ConvertLeRobot(data, out, **{"processes": 1, **settings}), progress=False)


def episode(folder: Path, number: int) -> dict[str, np.ndarray]:
    with np.load(folder / f"{number:06d}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def check_frames(images: np.ndarray, number: int, stride: int, cameras: tuple[int, ...] = (0, 1)) -> None:
    width = images.shape[2] // len(cameras)
    for place, camera in enumerate(cameras):
        tile = images[:, :, place * width : (place + 1) * width].astype(float)
        expected = [grey(camera, number, stride * t) for t in range(len(images))]
        error = np.abs(tile - np.array(expected)[:, None, None, None]).mean(axis=(1, 2, 3))
        assert error.max() <= 2, f"frames of camera {camera} are off by {error}"


@pytest.mark.parametrize("version", list(MAKERS))
@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_each_version_and_codec_gives_the_frames_and_numbers_that_were_recorded(
    tmp_path: Path, version: str, codec: str
) -> None:
    MAKERS[version](tmp_path / "data", codec=codec)
    assert convert(tmp_path / "data", tmp_path / "out") == 3
    for number, length in enumerate((12, 7, 10)):
        arrays = episode(tmp_path / "out", number)
        action, state = numbers(number, length)
        assert np.array_equal(arrays["action"], action)
        assert np.array_equal(arrays["state"], state)
        assert arrays["image"].shape == (length, SIZE[0], 2 * SIZE[1], 3)
        check_frames(arrays["image"], number, 1)
        assert str(arrays["instruction"]) == TASKS[number % 2]
        assert "success" not in arrays


def test_fewer_frames_lose_no_action(tmp_path: Path) -> None:
    make_v3(tmp_path / "data", lengths=(31, 30, 10, 11))
    assert convert(tmp_path / "data", tmp_path / "out", hz=3) == 3  # ten source frames are one frame, no step
    for number, (length, kept) in {0: (31, 4), 1: (30, 3), 3: (11, 2)}.items():
        arrays = episode(tmp_path / "out", number)
        action, state = numbers(number, length)
        assert arrays["action"].shape == (kept, 10, 3)
        assert np.array_equal(arrays["action"].reshape(-1, 3)[:length], action)
        assert (arrays["action"].reshape(-1, 3)[length:] == action[-1]).all()
        assert np.array_equal(arrays["state"], state[::10])
        check_frames(arrays["image"], number, 10)
    assert not (tmp_path / "out" / "000002.npz").exists()
    robot = read_robot(tmp_path / "out")
    assert robot is not None
    assert (robot.control_hz, robot.actions_per_frame, robot.frame_hz) == (30, 10, 3)


def test_the_robot_is_what_the_dataset_says(tmp_path: Path) -> None:
    make_v3(tmp_path / "data", lengths=(12, 7))
    convert(tmp_path / "data", tmp_path / "out", size=(32, 48), units=("deg", "deg", "percent"), hz=10)
    robot = read_robot(tmp_path / "out")
    assert robot is not None
    assert (robot.name, robot.action_kind, robot.state_from) == ("so101_follower", "absolute", "action")
    assert robot.action_names == MOTORS == robot.state_names
    assert [number.unit for number in robot.action] == ["deg", "deg", "percent"]
    assert [(c.name, c.height, c.width) for c in robot.cameras] == [(name, 32, 48) for name in CAMERAS]
    assert robot.canvas_size == (32, 96)
    # Recorded were 0 to 106; a tenth more on either side.
    assert -12 < robot.action[0].low <= -10.6 and 116.6 <= robot.action[0].high < 118
    assert not robot.terminate


def test_cameras_are_chosen_and_ordered_by_name(tmp_path: Path) -> None:
    make_v2(tmp_path / "data")
    convert(tmp_path / "data", tmp_path / "one", cameras=("wrist",))
    check_frames(episode(tmp_path / "one", 2)["image"], 2, 1, cameras=(1,))
    convert(tmp_path / "data", tmp_path / "both", cameras=("observation.images.wrist", "front"))
    check_frames(episode(tmp_path / "both", 2)["image"], 2, 1, cameras=(1, 0))
    with pytest.raises(ValueError, match=r"no camera 'frnt'; did you mean 'front'.*it has front, wrist"):
        convert(tmp_path / "data", tmp_path / "none", cameras=("frnt",))
    assert not (tmp_path / "none").exists()


def test_images_in_tables_are_read(tmp_path: Path) -> None:
    make_v2(tmp_path / "data", images_in_tables=True)
    convert(tmp_path / "data", tmp_path / "out", hz=15, size=(32, 48))
    check_frames(episode(tmp_path / "out", 1)["image"], 1, 2)


@pytest.mark.parametrize(
    "names",
    [
        list(MOTORS),
        {"motors": list(MOTORS)},
        {"axes": list(MOTORS)},
        [list(MOTORS)],
        dict(zip(MOTORS, range(3), strict=True)),
    ],
)
def test_names_of_all_shapes_are_read(names: Any, tmp_path: Path) -> None:
    assert flat_names(names) == MOTORS
    make_v2(tmp_path / "data", names=names, lengths=(3,))
    convert(tmp_path / "data", tmp_path / "out")
    robot = read_robot(tmp_path / "out")
    assert robot is not None and robot.action_names == MOTORS


def test_names_that_do_not_fit_become_numbers(tmp_path: Path) -> None:
    make_v2(tmp_path / "data", names=["state"], lengths=(3,))
    assert read_layout(tmp_path / "data").vector("action").names == ("action.0", "action.1", "action.2")


def test_a_rate_written_as_a_fraction_is_read(tmp_path: Path) -> None:
    make_v2(tmp_path / "data", fps=10.0)
    convert(tmp_path / "data", tmp_path / "out", hz=5.0)
    check_frames(episode(tmp_path / "out", 0)["image"], 0, 2)


def test_only_a_whole_share_of_the_frames_can_be_kept(tmp_path: Path) -> None:
    make_v3(tmp_path / "data", lengths=(3,))
    with pytest.raises(
        ValueError, match="30 frames per second, of which 4 cannot be kept evenly; choose one of 30"
    ):
        convert(tmp_path / "data", tmp_path / "out", hz=4)


def test_episodes_are_chosen_by_number_and_by_instruction(tmp_path: Path) -> None:
    make_v3(tmp_path / "data", lengths=(4, 4, 4, 4, 4))
    assert convert(tmp_path / "data", tmp_path / "out", episodes="1:3,4") == 3
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.npz")) == ["000001", "000002", "000004"]
    assert convert(tmp_path / "data", tmp_path / "pull", instructions="pull") == 2
    assert sorted(path.stem for path in (tmp_path / "pull").glob("*.npz")) == ["000001", "000003"]
    with pytest.raises(
        ValueError, match=r"no instruction of these episodes matches 'lift'.*'Push the block.'"
    ):
        convert(tmp_path / "data", tmp_path / "none", instructions="lift")
    with pytest.raises(ValueError, match="asks for 3:9, the dataset has episodes 0 to 4"):
        convert(tmp_path / "data", tmp_path / "none", episodes="3:9")


def test_outcomes_come_from_the_dataset_or_from_a_table(tmp_path: Path) -> None:
    make_v2(tmp_path / "data", outcomes=True)
    convert(tmp_path / "data", tmp_path / "own")
    assert [bool(episode(tmp_path / "own", i)["success"]) for i in range(3)] == [True, False, True]
    table = tmp_path / "outcomes.csv"
    table.write_bytes(b"\xef\xbb\xbfEpisode;Success\r\n0;failure\r\n1;unclear\r\n\r\n2;TRUE\r\n")
    make_v3(tmp_path / "v3")
    convert(tmp_path / "v3", tmp_path / "told", outcomes=table)
    assert not episode(tmp_path / "told", 0)["success"]
    assert "success" not in episode(tmp_path / "told", 1)
    assert episode(tmp_path / "told", 2)["success"]
    table.write_text("episode,success\n7,true\n")
    with pytest.raises(ValueError, match="row 2, column episode is '7', expected a number from 0 to 2"):
        convert(tmp_path / "v3", tmp_path / "wrong", outcomes=table)
    table.write_text(f"episode,success\n{'7' * 5000},true\n")
    with pytest.raises(ValueError, match=r"row 2, column episode is '7{60}', expected a number from 0 to 2"):
        convert(tmp_path / "v3", tmp_path / "wrong", outcomes=table)


def test_a_stopped_conversion_continues_and_another_one_is_refused(tmp_path: Path) -> None:
    make_v3(tmp_path / "data")
    out = tmp_path / "out"
    convert(tmp_path / "data", out, episodes="0:2")
    before = (out / "000000.npz").stat().st_mtime_ns
    assert convert(tmp_path / "data", out) == 3
    assert (out / "000000.npz").stat().st_mtime_ns == before
    convert(tmp_path / "data", tmp_path / "whole")
    for number in range(3):
        one, other = episode(out, number), episode(tmp_path / "whole", number)
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert (out / "robot.json").read_text() == (tmp_path / "whole" / "robot.json").read_text()
    with pytest.raises(ValueError, match=r"was converted with hz = 30\.0, now 15 is asked for"):
        convert(tmp_path / "data", out, hz=15)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "000000.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="not from this conversion"):
        convert(tmp_path / "data", tmp_path / "old")


def test_the_command_uses_several_processes_and_says_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_v3(tmp_path / "data", lengths=(4, 4, 4))
    main(
        f"convert lerobot {tmp_path / 'data'} --out {tmp_path / 'out'} --cameras front --size 32 48 --hz 15 "
        "--processes 2".split()
    )
    assert f"3 episodes in {tmp_path / 'out'}" in capsys.readouterr().out
    for number in range(3):
        check_frames(episode(tmp_path / "out", number)["image"], number, 2, cameras=(0,))


def test_a_video_whose_pictures_refer_backwards_and_forwards_is_read_exactly(tmp_path: Path) -> None:
    """B-frames, long groups of pictures, and episodes that begin in the middle of one."""
    from fractions import Fraction

    import av

    make_v3(tmp_path / "data", lengths=(40, 33, 50))
    for i, name in enumerate(CAMERAS):
        path = tmp_path / f"data/videos/observation.images.{name}/chunk-000/file-000.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(30), options={"g": "17", "bf": "3", "crf": "10",
                                          "x264-params": "open-gop=1"})  # fmt: skip
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            for number, length in enumerate((40, 33, 50)):
                for t in range(length):
                    picture = np.full((*SIZE, 3), grey(i, number, t), np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    for hz in (30, 10, 3, 1.5):
        convert(tmp_path / "data", tmp_path / f"out{hz}", hz=hz)
        for number in range(3):
            check_frames(episode(tmp_path / f"out{hz}", number)["image"], number, round(30 / hz))


def test_unknown_versions_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"has no meta/info\.json; expected the folder of a LeRobot dataset"
    ):
        convert(tmp_path, tmp_path / "out")
    make_v3(tmp_path / "data", lengths=(3,))
    edit_info(tmp_path / "data", codebase_version="v1.6")
    with pytest.raises(ValueError, match=r"codebase_version is 'v1\.6'; v2\.0, v2\.1, v3\.0 can be read"):
        convert(tmp_path / "data", tmp_path / "out")


def test_extra_fields_of_the_metadata_do_not_matter(tmp_path: Path) -> None:
    make_v3(tmp_path / "data", lengths=(3,))
    edit_info(tmp_path / "data", tools=["lerobot-annotate"], total_videos=2)
    assert convert(tmp_path / "data", tmp_path / "out") == 1
    record = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert record["format"] == "LeRobot v3.0"


def write_with_objects(folder: Path, lengths: tuple[int, ...] = (11, 10)) -> None:
    """A block that moves a centimetre a frame; the task is done once it has moved six."""
    objects = ("block.x", "block.y")
    recording = Recording(
        30, MOTORS, {"front": SIZE}, MOTORS, codec="libx264", environment_names=objects, outcomes=True
    )
    with LeRobotWriter(folder, recording) as writer:
        for number, length in enumerate(lengths):
            action, state = numbers(number, length)
            block = np.stack([np.arange(length) / 100, np.full(length, number)], axis=1).astype(np.float32)
            done = np.minimum(np.arange(length) + 1, length - 1) >= 6
            writer.add(TASKS[0], {"front": frames(0, number, length)}, action, state, block, done)


def test_what_is_recorded_of_objects_is_kept_frame_by_frame(tmp_path: Path) -> None:
    write_with_objects(tmp_path / "data")
    convert(tmp_path / "data", tmp_path / "out", hz=6)
    arrays = episode(tmp_path / "out", 1)
    assert np.array_equal(arrays["environment_state"], np.array([[0, 1], [0.05, 1]], np.float32))
    assert arrays["environment_names"].tolist() == ["block.x", "block.y"]
    between = arrays["between_environment_state"]
    assert between.shape == (2, 5, 2)
    assert np.array_equal(between[:, 0], arrays["environment_state"])
    assert np.allclose(between[..., 0].ravel(), np.arange(10) / 100)
    assert np.array_equal(arrays["between_state"][:, 0], arrays["state"])
    assert bool(arrays["success"])
    assert "reached" not in arrays


def test_outcomes_at_every_frame_belong_to_the_frame_after_the_action(tmp_path: Path) -> None:
    write_with_objects(tmp_path / "data")
    convert(tmp_path / "data", tmp_path / "out", success_at_every_frame=True)
    # The task is done at frame 6: the row of frame 5 says that it is done after its action.
    assert episode(tmp_path / "out", 0)["reached"].tolist() == [False] * 6 + [True] * 5
    with pytest.raises(ValueError, match="every_frame = true"):
        convert(tmp_path / "data", tmp_path / "out")


def test_an_episode_without_an_outcome_for_each_frame_is_refused(tmp_path: Path) -> None:
    recording = Recording(30, MOTORS, {"front": SIZE}, MOTORS, outcomes=True, codec="libx264")
    action, state = numbers(0, 5)
    with (
        LeRobotWriter(tmp_path / "data", recording) as writer,
        pytest.raises(ValueError, match="4 outcomes for 5 frames"),
    ):
        writer.add(TASKS[0], {"front": frames(0, 0, 5)}, action, state, success=np.zeros(4, bool))


def test_the_state_of_absolute_targets_can_be_left_to_the_model(tmp_path: Path) -> None:
    make_v3(tmp_path / "data")
    for wanted in ("action", "model"):
        convert(tmp_path / "data", tmp_path / wanted, state_from=wanted)
        robot = read_robot(tmp_path / wanted)
        assert robot is not None and robot.state_from == wanted
