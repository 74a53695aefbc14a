"""A sample in RT-1's dataset format, written by TensorFlow Datasets, is read without it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from real2sim.actions import FIELDS
from real2sim.episodes.conversion import RECORD
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.episodes.rlds.convert import ConvertRLDS, convert_rlds
from real2sim.episodes.rlds.episodes import RLDSEpisodes
from real2sim.robot import read_robot

DATA = Path(__file__).parents[2] / "data" / "fractal_tiny" / "fractal20220817_data" / "0.1.0"


def convert(out: Path, **settings: object) -> int:
    return convert_rlds(ConvertRLDS(DATA, out, **{"processes": 1, **settings}), progress=False)  # type: ignore[arg-type]


def test_the_sample_has_the_published_feature_tree() -> None:
    features = json.loads((DATA / "features.json").read_text())["featuresDict"]["features"]
    step = features["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    assert sorted(step) == ["action", "is_first", "is_last", "is_terminal", "observation", "reward"]
    assert sorted(step["action"]["featuresDict"]["features"]) == sorted(FIELDS)
    image = step["observation"]["featuresDict"]["features"]["image"]["image"]
    assert (image["shape"]["dimensions"], image["encodingFormat"]) == (["256", "320", "3"], "jpeg")
    assert len(step["observation"]["featuresDict"]["features"]) == 14


def test_the_sample_becomes_a_folder_of_episodes(tmp_path: Path) -> None:
    assert convert(tmp_path / "npz") == 3
    files = dataset_files(tmp_path / "npz")
    assert [path.name for path in files] == ["000000.npz", "000001.npz", "000002.npz"]
    found = {
        path.name: read_npz(path, ("image", "action", "instruction", "success", "embedding"))
        for path in files
    }
    assert sorted(len(arrays["image"]) for arrays in found.values()) == [4, 5, 6]
    for arrays in found.values():
        assert arrays["image"].shape[1:] == (256, 320, 3)
        assert arrays["embedding"].shape == (512,)
        # Terminate on the last step, move the arm on the others.
        assert (arrays["action"][:, 7:10].argmax(axis=1) == [1] * (len(arrays["action"]) - 1) + [0]).all()
        assert bool(arrays["success"]) == (str(arrays["instruction"]) == "pick the disc")


def test_the_robot_of_the_sample_is_rt1s(tmp_path: Path) -> None:
    convert(tmp_path)
    robot = read_robot(tmp_path)
    assert robot is not None
    assert (robot.name, robot.action_width, robot.control_hz, robot.action_kind) == ("rt1", 13, 3, "delta")
    assert robot.terminate == tuple(
        f"terminate_episode.{word}" for word in ("terminate", "move_arm", "move_base")
    )
    assert robot.canvas_size == (256, 320)


def test_frames_are_those_of_pillow(tmp_path: Path) -> None:
    convert(tmp_path)
    frames = read_npz(tmp_path / "000000.npz")["image"]
    # Drawn are discs on a gradient that JPEG keeps to within a few levels.
    assert frames.std() > 10
    assert np.abs(np.diff(frames[0].astype(int), axis=0)).mean() < 10


def test_tensorflow_is_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from real2sim.episodes.rlds.episodes import RLDSEpisodes; "
        f"RLDSEpisodes(Path({str(DATA)!r}))[0]; sys.exit(any('tensorflow' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [0, 1, 2]),
        ("train[1:]", [1, 2]),
        ("train[:67%]", [0, 1]),
        ("train[-1:]", [2]),
        ("train[1:2]", [1]),
    ],
)
def test_splits_are_those_of_tensorflow_datasets(split: str, expected: list[int]) -> None:
    episodes = RLDSEpisodes(DATA, split)
    assert [episodes.where(number).split(", ")[1] for number in range(len(episodes))] == [
        f"train[{i}]" for i in expected
    ]


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("test", "has no split 'test'; there are train"),
        ("train[abc]", r"split is 'train\[abc\]', expected a name with or without a range"),
        ("train[3:]", "holds no episode; train has 3"),
        ("train[-:]", r"split is 'train\[-:\]', expected a name"),
        ("train[:%]", r"split is 'train\[:%\]', expected a name"),
        ("train[:200%]", "200% is more than the whole"),
    ],
)
def test_a_split_that_is_none_is_named(split: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RLDSEpisodes(DATA, split)


def test_episodes_read_by_number_are_those_of_the_conversion(tmp_path: Path) -> None:
    convert(tmp_path)
    episodes = RLDSEpisodes(DATA)
    for number in reversed(range(3)):
        expected = read_npz(
            tmp_path / f"{number:06d}.npz", ("image", "action", "instruction", "embedding", "success")
        )
        assert all(np.array_equal(array, expected[name]) for name, array in episodes[number].items())


def test_a_stopped_conversion_continues_and_equals_a_whole_one(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for out in (whole, stopped):
        convert(out)
    (stopped / "000002.npz").unlink()
    before = (stopped / "000001.npz").stat().st_mtime_ns
    assert convert(stopped) == 3
    assert (stopped / "000001.npz").stat().st_mtime_ns == before
    for path in dataset_files(whole):
        first, second = read_npz(path), read_npz(stopped / path.name)
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_episodes_of_two_datasets_are_not_mixed(tmp_path: Path) -> None:
    convert(tmp_path, split="train[:1]")
    with pytest.raises(
        ValueError, match=r'was converted with split = "train\[:1\]", now "train" is asked for'
    ):
        convert(tmp_path)
    assert (tmp_path / RECORD).is_file()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[:-20], r"00000-of-00001 is cut off in record 2; download the file again"),
        (lambda data: data[:3] + b"\xff" + data[4:], "record 0 does not begin as a TFRecord does"),
        (
            lambda data: data[:50_000] + b"\x00\x01\x02" + data[50_003:],
            "is damaged .wrong checksum.; download the file again",
        ),
        (lambda data: b"", "holds 0 episodes, dataset_info.json says 3"),
    ],
)
def test_a_damaged_file_is_named(damage, sentence: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(DATA, tmp_path / "0.1.0")
    (path,) = (tmp_path / "0.1.0").glob("*.tfrecord*")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=sentence):
        convert_rlds(ConvertRLDS(tmp_path / "0.1.0", tmp_path / "out", processes=1), progress=False)


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no features\.json; expected the folder of one version"):
        RLDSEpisodes(tmp_path)
    shutil.copytree(DATA, tmp_path / "0.1.0")
    (tmp_path / "0.1.0" / "features.json").write_text("{}")
    with pytest.raises(ValueError, match="lists no feature under steps/"):
        RLDSEpisodes(tmp_path / "0.1.0")
    shutil.copy(DATA / "features.json", tmp_path / "0.1.0")
    (tmp_path / "0.1.0" / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match=r"dataset_info\.json is not valid JSON"):
        RLDSEpisodes(tmp_path / "0.1.0")
    (next((tmp_path / "0.1.0").glob("*.tfrecord*"))).unlink()
    shutil.copy(DATA / "dataset_info.json", tmp_path / "0.1.0")
    with pytest.raises(
        FileNotFoundError, match=r"does not exist, and dataset_info\.json says that split train has 1 files"
    ):
        RLDSEpisodes(tmp_path / "0.1.0")
