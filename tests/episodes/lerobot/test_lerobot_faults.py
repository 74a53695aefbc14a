# ruff: noqa: E501 - a fault per line
"""What is wrong with a LeRobot dataset is said in one sentence, before anything is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from make_lerobot import edit_info, edit_table, make_v2, make_v3

from real2sim.episodes.lerobot.convert import ConvertLeRobot, convert_lerobot

DATA_V3 = "data/chunk-000/file-000.parquet"
DATA_V2 = "data/chunk-000/episode_000000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO_V3 = "videos/observation.images.wrist/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lerobot")
    return {"v2.1": make_v2(folder / "v2"), "v3.0": make_v3(folder / "v3")}


def put(name: str, place: int, value: Any) -> Callable[[dict[str, list[Any]]], None]:
    def change(columns: dict[str, list[Any]]) -> None:
        columns[name][place] = value

    return change


def rows(path: str, name: str, place: int, value: Any) -> Callable[[Path], None]:
    return lambda folder: edit_table(folder / path, put(name, place, value))


def replace_text(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1))

    return change


def write(path: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / path).write_bytes(content)

    return change


def info(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_info(folder, **changes)


def feature(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "meta" / "info.json"
        content = json.loads(path.read_text())
        content["features"][name].update(changes)
        path.write_text(json.dumps(content))

    return change


def texts(name: str) -> Callable[[Path], None]:
    """A column with text in the place of its values."""

    def change(folder: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        path = folder / DATA_V3
        table = pyarrow.parquet.read_table(path)
        place = table.schema.get_field_index(name)
        column = pyarrow.array([str(value) for value in table[name].to_pylist()])
        pyarrow.parquet.write_table(table.set_column(place, name, column), path)

    return change


def drop_last_row(columns: dict[str, list[Any]]) -> None:
    for values in columns.values():
        values.pop()


def shift_last_range(columns: dict[str, list[Any]]) -> None:
    columns["dataset_from_index"][2], columns["dataset_to_index"][2] = 20, 30


def without_actions(columns: dict[str, list[Any]]) -> None:
    columns.pop("action")


def shorten(folder: Path) -> None:
    import numpy as np
    from make_lerobot import SIZE

    from real2sim.episodes.lerobot.writer import VideoFile

    video = VideoFile(folder / VIDEO_V3, SIZE, 30, "libx264")
    video.append(np.zeros((20, *SIZE, 3), np.uint8))
    video.close()


def begin_late(folder: Path) -> None:
    """A video whose first frame is shown after 0.5 s."""
    from fractions import Fraction

    import av
    import numpy as np
    from make_lerobot import SIZE

    with av.open(str(folder / VIDEO_V3), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for place in range(29):
            frame = av.VideoFrame.from_ndarray(np.zeros((*SIZE, 3), np.uint8))
            frame.pts, frame.time_base = place + 15, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def from_five(columns: dict[str, list[Any]]) -> None:
    columns["timestamp"] = [time + 5 for time in columns["timestamp"]]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n"
NAN = float("nan")
FAULTS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "info of a camera": (
        "v2.1", feature("observation.images.front", video_info="x"), "front has info 'x', expected an object",
    ),
    "a camera of no kind": ("v2.1", feature("observation.images.front", dtype=""), "expected 'video' or 'image'"),
    "a camera with four numbers per pixel": (
        "v3.0", feature("observation.images.front", shape=[64, 96, 4]), "front has 4 numbers per pixel, expected 3 .*--cameras wrist",
    ),
    "a camera too large": ("v3.0", feature("observation.images.front", shape=[64, 10**30, 3]), "expected three sizes"),
    "a name that is a number": ("v3.0", feature("action", names=["a", 7, "b"]), "has '7' among its names"),
    "a name that is an object": ("v3.0", feature("action", names=["a", {"a": "b"}, [1.5]]), "'1.5' among its names"),
    "fps of no camera": ("v2.1", info(fps=10**7), "fps is 10000000, expected frames per second above 0"),
    "tasks that are no UTF-8": ("v2.1", write("meta/tasks.jsonl", b'{"task": "\xe9"}'), "tasks.jsonl is not UTF-8 text"),
    "a task without a number": (
        "v2.1", write("meta/tasks.jsonl", b'{"task_index": null, "task": "x"}'), "task_index None has task 'x', expected",
    ),
    "a task that is no text": ("v2.1", write("meta/tasks.jsonl", b'{"task_index": 0, "task": []}'), r"has task \[\]"),
    "text for times": ("v3.0", texts("timestamp"), "timestamp holds"),
    "text for numbers of frames": ("v3.0", texts("frame_index"), "frame_index holds"),
    "text for actions": ("v3.0", texts("action"), "action holds string, expected numbers"),
    "episodes missing": ("v3.0", info(total_episodes=4), "total_episodes is 4, the metadata lists 3 episodes"),
    "frames missing": ("v2.1", info(total_frames=30), "total_frames is 30, the episodes' lengths add up to 29"),
    "length differs": ("v3.0", rows(EPISODES, "length", 1, 8), "episode 1 has length 8 and rows 12 to 19"),
    "ranges leave a gap": ("v3.0", rows(EPISODES, "episode_index", 2, 1), "episode_index 1 stands where 2 is"),
    "range begins elsewhere": (
        "v3.0",
        lambda folder: edit_table(folder / EPISODES, shift_last_range),
        "episode 2 begins at row 20, the one before ends at 19",
    ),
    "video span": ("v3.0", rows(EPISODES, "videos/observation.images.front/to_timestamp", 0, 2.0), "spans 2.000 s of"),
    "frame_index": ("v3.0", rows(DATA_V3, "frame_index", 13, 5), "episode 1, frame 1: frame_index is 5, expected 1"),
    "episode_index": ("v3.0", rows(DATA_V3, "episode_index", 13, 0), "frame 1: episode_index is 0, expected 1"),
    "index": ("v3.0", rows(DATA_V3, "index", 13, 99), "episode 1, frame 1: index is 99, expected 13"),
    "timestamp": ("v3.0", rows(DATA_V3, "timestamp", 3, 0.2), "frame 3: timestamp is 0.200000 s, frame_index / fps is 0.1"),
    "rate": ("v2.1", info(fps=15), "frame 1: timestamp is 0.033333 s.*the recording is not at 15 Hz"),
    "timestamps from 5 s": ("v2.1", lambda f: edit_table(f / DATA_V2, from_five), "episode 0: timestamps begin at 5.000000 s, expected 0"),
    "video from 0.5 s": ("v3.0", begin_late, "its first frame is shown at 0.5000 s; write the video anew"),
    "fps not a number": ("v2.1", info(fps="30"), 'fps is "30", expected frames per second above 0'),
    "task unknown": ("v3.0", rows(DATA_V3, "task_index", 13, 9), "task_index 9 is not among the 2 tasks"),
    "width": ("v2.1", feature("action", shape=[4]), r"episode 0, frame 0: action has 3 numbers, the dataset's features say 4"),
    "NaN": ("v3.0", rows(DATA_V3, "action", 14, [0.0, NAN, 0.0]), r"episode 1, frame 2: action\[1\] \(elbow_flex.pos\) is nan"),
    "NaN in the state": ("v3.0", rows(DATA_V3, "observation.state", 0, [NAN, 0, 0]), r"frame 0: observation.state\[0\].* is nan"),
    "rows missing": ("v3.0", lambda folder: edit_table(folder / DATA_V3, drop_last_row), "has 28 rows, its episodes have 29"),
    "column missing": ("v3.0", lambda folder: edit_table(folder / DATA_V3, without_actions), "no column 'action'"),
    "table missing": ("v2.1", lambda f: (f / "data/chunk-000/episode_000001.parquet").unlink(), "000001.parquet does not exist"),
    "video missing": ("v3.0", lambda folder: (folder / VIDEO_V3).unlink(), "file-000.mp4 does not exist, and the dataset's metadata"),
    "video not fetched": ("v3.0", write(VIDEO_V3, POINTER), "is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`"),
    "table not fetched": ("v3.0", write(DATA_V3, POINTER), "is a Git LFS pointer"),
    "info not fetched": ("v2.1", write("meta/info.json", POINTER), "is a Git LFS pointer"),
    "video damaged": ("v3.0", write(VIDEO_V3, b"no video at all" * 100), "cannot be read as video"),
    "table damaged": ("v3.0", write(DATA_V3, b"PAR1" + b"x" * 100), "cannot be read as parquet"),
    "frame size": ("v3.0", feature("observation.images.front", shape=[48, 64, 3]), "is 64 x 96 pixels, the dataset's features say 48 x 64"),
    "video too short": ("v3.0", shorten, "has no frame at"),
    "json damaged": ("v2.1", write("meta/info.json", b"{"), "is not valid JSON"),
    "line damaged": ("v2.1", replace_text("meta/episodes.jsonl", '"length": 7', '"length": '), "line 2 is not valid JSON"),
    "line without a field": ("v2.1", replace_text("meta/episodes.jsonl", '"length"', '"frames"'), "line 1 has no field 'length'"),
    "path leaves the folder": ("v3.0", info(video_path="../{video_key}.mp4"), "which leaves the dataset"),
    "path without meaning": ("v3.0", info(data_path="data/{nothing}.parquet"), "data_path is 'data/{nothing}.parquet', expected a pattern"),
    "no video path": ("v2.1", info(video_path=None), "video_path is null"),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_of_a_dataset_is_named(sound: dict[str, Path], fault: str, tmp_path: Path) -> None:
    version, damage, sentence = FAULTS[fault]
    folder = tmp_path / "data"
    shutil.copytree(sound[version], folder)
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as caught:
        convert_lerobot(ConvertLeRobot(folder, tmp_path / "out", processes=1), progress=False)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    out = tmp_path / "out"
    assert not out.exists() or list(out.glob("*.npz")), "the folder was claimed without an episode"


def test_a_camera_that_cannot_be_read_may_be_left_out(sound: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(sound["v3.0"], folder)
    feature("observation.images.front", shape=[64, 96, 4])(folder)
    config = ConvertLeRobot(folder, tmp_path / "out", cameras=("wrist",), processes=1)
    assert convert_lerobot(config, progress=False) > 0


def test_nothing_is_left_of_an_episode_that_cannot_be_read(sound: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(sound["v3.0"], folder)
    shorten(folder)
    with pytest.raises(ValueError, match="has no frame at"):
        convert_lerobot(ConvertLeRobot(folder, tmp_path / "out", processes=1), progress=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.npz", "000001.npz", "conversion.json", "robot.json"]  # fmt: skip


def test_a_conversion_without_an_episode_claims_no_folder(sound: dict[str, Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(sound["v2.1"], folder)
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    # What a conversion that was killed before its first episode leaves.
    (out / "conversion.json").write_text('{"format": "LeRobot v2.1", "hz": 5}')
    with pytest.raises(ValueError, match="no camera 'top'"):
        convert_lerobot(ConvertLeRobot(folder, out, cameras=("top",), processes=1), progress=False)
    assert convert_lerobot(ConvertLeRobot(folder, out, processes=1), progress=False) == 3
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(ValueError, match=r"was converted with hz = 30\.0, now 10"):
        convert_lerobot(ConvertLeRobot(folder, out, hz=10, processes=1), progress=False)


def test_truth_values_are_actions_of_0_and_1(sound: dict[str, Path], tmp_path: Path) -> None:
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    folder, wanted = tmp_path / "data", []
    shutil.copytree(sound["v2.1"], folder)
    for path in sorted(folder.glob("data/*/*.parquet")):
        table = pyarrow.parquet.read_table(path)
        pressed = [[place % 2 == 0, True, False] for place in range(table.num_rows)]
        column = pyarrow.array(pressed, pyarrow.list_(pyarrow.bool_(), 3))
        place = table.column_names.index("action")
        pyarrow.parquet.write_table(table.set_column(place, "action", column), path)
        wanted.append(np.array(pressed, np.float32))
    feature("action", dtype="bool")(folder)
    convert_lerobot(ConvertLeRobot(folder, tmp_path / "out", processes=1), progress=False)
    for number, actions in enumerate(wanted):
        with np.load(tmp_path / f"out/{number:06d}.npz") as arrays:
            np.testing.assert_array_equal(arrays["action"], actions)
