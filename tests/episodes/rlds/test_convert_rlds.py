# ruff: noqa: E501 - sentences are matched whole
"""RLDS datasets of the forms that people have become dataset folders."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_rlds import SIZE, make_rlds, picture

from real2sim.cli import main
from real2sim.episodes.rlds.convert import ConvertRLDS, convert_rlds
from real2sim.episodes.rlds.episodes import RLDSEpisodes
from real2sim.episodes.rlds.records import Records
from real2sim.robot import read_robot


def convert(data: Path, out: Path, **settings: Any) -> int:
    return convert_rlds(ConvertRLDS(data, out, **{"processes": 1, **settings}), progress=False)


def episode(folder: Path, number: int) -> dict[str, np.ndarray]:
    with np.load(folder / f"{number:06d}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def action_names(folder: Path) -> tuple[str, ...]:
    robot = read_robot(folder)
    assert robot is not None
    return robot.action_names


def test_frames_are_those_that_were_recorded(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", encoding="png")
    convert(data, tmp_path / "out")
    for number, length in enumerate((3, 4, 3)):
        expected = [picture(number, step) for step in range(length)]
        assert np.array_equal(episode(tmp_path / "out", number)["image"], expected)


def test_a_flat_action_has_the_names_that_it_is_given(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    convert(data, tmp_path / "named", action=names)
    assert action_names(tmp_path / "named") == names
    assert episode(tmp_path / "named", 1)["action"].shape == (4, 7)
    convert(data, tmp_path / "plain")
    assert action_names(tmp_path / "plain") == tuple(f"action.{i}" for i in range(7))
    with pytest.raises(ValueError, match="its 2 words cannot name the numbers of the action, which are 7"):
        convert(data, tmp_path / "few", action=("x", "y"))


def test_bridges_fields_are_joined_in_alphabetical_order(tmp_path: Path) -> None:
    convert(make_rlds(tmp_path / "data", "bridge"), tmp_path / "out")
    assert action_names(tmp_path / "out") == (
        "open_gripper", "rotation_delta.x", "rotation_delta.y", "rotation_delta.z",
        "terminate_episode", "world_vector.x", "world_vector.y", "world_vector.z",
    )  # fmt: skip
    actions = episode(tmp_path / "out", 0)["action"]
    assert actions[:, 0].tolist() == [1, 1, 1]
    assert actions[:, 4].tolist() == [0, 0, 1]
    robot = read_robot(tmp_path / "out")
    assert robot is not None and robot.terminate == ("terminate_episode",)


def test_droids_cameras_actions_and_state_are_chosen_by_name(tmp_path: Path) -> None:
    cameras = ("exterior_image_1_left", "wrist_image_left")
    data = make_rlds(
        tmp_path / "data", "droid", (16, 31), cameras=cameras, language="language_instruction", name="droid"
    )
    convert(
        data, tmp_path / "out", image=cameras, action=("joint_position", "gripper_position"),
        state=("observation/joint_position",), hz=3, size=(12, 16), action_kind="absolute",
    )  # fmt: skip
    robot = read_robot(tmp_path / "out")
    assert robot is not None
    assert (robot.control_hz, robot.actions_per_frame, robot.canvas_size) == (15, 5, (12, 32))
    assert robot.action_names == (*(f"joint_position.{i}" for i in range(7)), "gripper_position")
    assert robot.state_from == "action"
    arrays = episode(tmp_path / "out", 1)
    assert (arrays["image"].shape, arrays["action"].shape, arrays["state"].shape) == (
        (7, 12, 32, 3),
        (7, 5, 8),
        (7, 7),
    )
    assert str(arrays["instruction"]) == "pick the apple"
    convert(data, tmp_path / "flat")
    assert len(action_names(tmp_path / "flat")) == 7
    convert(data, tmp_path / "group", action=("action_dict",))
    assert action_names(tmp_path / "group")[:7] == (
        *(f"cartesian_position.{i}" for i in range(6)),
        "gripper_position",
    )


def test_one_of_several_cameras_has_to_be_chosen(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", cameras=("left_eye", "right_eye"))
    with pytest.raises(ValueError, match="has several cameras, left_eye, right_eye; choose with --image"):
        convert(data, tmp_path / "out")
    convert(data, tmp_path / "out", image=("right_eye",))
    with pytest.raises(ValueError, match=r"has no camera called 'wrist'.*it has left_eye, right_eye"):
        convert(data, tmp_path / "none", image=("wrist",))


def test_another_camera_key_is_taken_if_it_is_the_only_one(tmp_path: Path) -> None:
    convert(make_rlds(tmp_path / "data", cameras=("handcam",)), tmp_path / "out")
    robot = read_robot(tmp_path / "out")
    assert robot is not None and [camera.name for camera in robot.cameras] == ["handcam"]


def test_an_instruction_per_step_is_read(tmp_path: Path) -> None:
    convert(make_rlds(tmp_path / "data", language="language_instruction"), tmp_path / "out")
    assert str(episode(tmp_path / "out", 1)["instruction"]) == "pick the apple"


def test_episodes_without_an_instruction_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    convert(make_rlds(tmp_path / "data", texts=("",)), tmp_path / "out")
    assert "3 of 3 episodes have no instruction" in caplog.text


def test_frames_of_several_sizes_are_resized_or_refused_at_once(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", sizes=(SIZE, (30, 40), SIZE))
    with pytest.raises(
        ValueError, match=r"train\[1\].* has frames of 30 x 40 pixels, .*train\[0\].* of 24 x 32; give --size"
    ):
        convert(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert(data, tmp_path / "out", size=(12, 16))
    assert episode(tmp_path / "out", 1)["image"].shape == (4, 12, 16, 3)
    convert(make_rlds(tmp_path / "same", sizes=(SIZE, SIZE, SIZE)), tmp_path / "kept")
    assert episode(tmp_path / "kept", 1)["image"].shape == (4, *SIZE, 3)


def test_grey_frames_get_three_channels(tmp_path: Path) -> None:
    convert(make_rlds(tmp_path / "data", channels=1, encoding="png"), tmp_path / "out")
    frames = episode(tmp_path / "out", 2)["image"]
    assert np.array_equal(frames, np.repeat([picture(2, step, channels=1) for step in range(3)], 3, axis=-1))


@pytest.mark.parametrize("form", ["rt1", "flat", "bridge", "droid"])
def test_a_number_that_is_not_finite_is_refused_with_episode_and_step(form: str, tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", form, not_finite=(1, 1))
    with pytest.raises(
        ValueError, match=r"train\[1\], step 1: .* is nan; leave the episode out with --episodes"
    ):
        convert(data, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.npz"))
    assert convert(data, tmp_path / "out", episodes="0,2") == 2


def test_actions_beyond_what_rt1_takes_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert(make_rlds(tmp_path / "data", "rt1"), tmp_path / "out")
    assert not caplog.messages
    convert(make_rlds(tmp_path / "large", "rt1", largest=1e6), tmp_path / "out-large")
    (said,) = caplog.messages
    assert re.search(
        r"actions' '.*' goes from -\d+ to \d+, the robot's from -1 to 1; are the actions RT-1's", said
    )


def test_episodes_of_one_step_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert convert(make_rlds(tmp_path / "data", lengths=(1, 3, 1)), tmp_path / "out") == 1
    assert "2 episodes have fewer than two frames and are left out" in caplog.text
    assert [path.stem for path in (tmp_path / "out").glob("*.npz")] == ["000001"]


def test_outcomes_are_kept_only_where_the_dataset_knows_them(tmp_path: Path) -> None:
    convert(make_rlds(tmp_path / "data", success=True), tmp_path / "out")
    assert bool(episode(tmp_path / "out", 0)["success"])
    assert not bool(episode(tmp_path / "out", 1)["success"])
    assert "success" not in episode(tmp_path / "out", 2)


def test_frames_of_episodes_with_other_instructions_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_rlds(tmp_path / "data", shards=2)
    read, verified = Records.read, []

    def watched(self: Records, number: int, verify: bool = False) -> memoryview:
        verified.extend([number] if verify else [])
        return read(self, number, verify)

    monkeypatch.setattr(Records, "read", watched)
    assert convert(data, tmp_path / "out", instructions="close .* drawer$") == 2
    assert sorted(set(verified)) == [0, 2]
    assert [str(episode(tmp_path / "out", i)["instruction"]) for i in (0, 2)] == [
        "close the top drawer",
        "close the middle drawer",
    ]
    with pytest.raises(
        ValueError, match="no instruction of these 3 episodes matches 'fly'; frequent ones are 'close the top"
    ):
        convert(data, tmp_path / "none", instructions="fly")


def test_episodes_say_where_they_come_from(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", shards=3)
    convert(data, tmp_path / "out", split="train[1:]")
    assert str(episode(tmp_path / "out", 1)["source"]) == "made_up/0.1.0/train/2"
    assert RLDSEpisodes(data).where(2).endswith("train[2]")


def test_other_file_formats_are_named(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data")
    path = data / "dataset_info.json"
    path.write_text(path.read_text().replace('"tfrecord"', '"array_record"'))
    with pytest.raises(ValueError, match="is stored as array_record; only tfrecord can be read"):
        convert(data, tmp_path / "out")


def test_the_command_uses_several_processes_and_says_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    words = f"convert rlds {data} --out {tmp_path / 'out'} --size 12 16 --processes 2 --control-hz 5 --action x y z a b c d"
    main(words.split())
    assert f"3 episodes in {tmp_path / 'out'}" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.npz"))) == 3
