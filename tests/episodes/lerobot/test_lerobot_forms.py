# ruff: noqa: E501 - a fault per line
"""Forms of LeRobot datasets that other writers choose are read to the right numbers; those that contradict are named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from make_lerobot import TASKS, edit_table, make_v2, make_v3, numbers

from real2sim.episodes.lerobot.convert import ConvertLeRobot, convert_lerobot
from real2sim.episodes.lerobot.dataset import LeRobotDataset

DATA_V3 = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS_V3 = "meta/tasks.parquet"
INFO = "meta/info.json"
LENGTHS = (4, 3)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lerobot")
    made = {
        "v2.1": make_v2(folder / "v2", lengths=LENGTHS, outcomes=True),
        "images": make_v2(folder / "images", lengths=LENGTHS, images_in_tables=True),
        "v3.0": make_v3(folder / "v3", lengths=LENGTHS),
    }
    for copied in made.values():
        assert len(LeRobotDataset(copied)) == len(LENGTHS)
    return made


def altered(sound: dict[str, Path], version: str, change: Callable[[Path], Any], folder: Path) -> Path:
    shutil.copytree(sound[version], folder)
    change(folder)
    return folder


def info(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / INFO).read_text())
        change(content)
        (folder / INFO).write_text(json.dumps(content))

    return edit


def tasks(**columns: Any) -> Callable[[Path], None]:
    return lambda folder: pandas.DataFrame(columns).to_parquet(folder / TASKS_V3)


def texts_beside(index: bool) -> Callable[[Path], None]:
    table = pandas.DataFrame({"category": ["a", "b"], "task_index": [0, 1]}, index=list(TASKS))
    table = table if index else table.reset_index(names="task")[["category", "task_index", "task"]]
    return lambda folder: table.to_parquet(folder / TASKS_V3)


def column(path: str, name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Another column in the place of one, made from it as an arrow array."""

    def edit(folder: Path) -> None:
        for file in sorted(folder.glob(path)):
            table = pyarrow.parquet.read_table(file)
            place = table.column_names.index(name)
            made = change(table[name].combine_chunks())
            pyarrow.parquet.write_table(table.set_column(place, name, made), file)

    return edit


def tensors(array: Any) -> Any:
    values = np.asarray(array.flatten()).reshape(-1, 3)
    return pyarrow.FixedShapeTensorArray.from_numpy_ndarray(values)


def second(path: str, name: str) -> Callable[[Path], None]:
    """A column that is there twice."""

    def edit(folder: Path) -> None:
        for file in sorted(folder.glob(path)):
            table = pyarrow.parquet.read_table(file)
            pyarrow.parquet.write_table(table.append_column(name, table[name]), file)

    return edit


def outcomes(values: list[Any]) -> Callable[[Path], None]:
    return column("data/*/episode_000000.parquet", "next.success", lambda _: pyarrow.array(values))


FORMS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "actions in tensors": ("v3.0", column(DATA_V3, "action", tensors)),
    "tasks in categories": ("v3.0", tasks(task_index=[0, 1], task=pandas.Categorical(TASKS))),
    "another text beside the task": ("v3.0", texts_beside(index=False)),
    "another text beside the index": ("v3.0", texts_beside(index=True)),
    "the same task twice": (
        "v2.1",
        lambda f: (f / "meta/tasks.jsonl").write_text((f / "meta/tasks.jsonl").read_text() * 2),
    ),
    "a name that is empty": ("v3.0", info(lambda i: i["features"]["action"].update(names=["a", "b", " "]))),
    "NaN that nobody reads": ("v2.1", info(lambda i: i.update(score=float("nan")))),
    "outcomes in lists": ("v2.1", outcomes([[False], [False], [False], [True]])),
    "outcomes in whole numbers": ("v2.1", outcomes([0, 0, 0, 1])),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_a_form_of_another_writer_gives_the_numbers(
    sound: dict[str, Path], form: str, tmp_path: Path
) -> None:
    version, change = FORMS[form]
    dataset = LeRobotDataset(altered(sound, version, change, tmp_path / "data"))
    for number, length in enumerate(LENGTHS):
        rows, (action, state) = dataset.rows(number), numbers(number, length)
        np.testing.assert_array_equal(rows.action, action)
        np.testing.assert_array_equal(rows.state, state)
        assert rows.instruction == TASKS[number % 2]
        assert rows.success is (number % 2 == 0 if version == "v2.1" else None)


def huge(array: Any) -> Any:
    return pyarrow.array([[1e300, 0.0, 0.0]] * len(array), pyarrow.list_(pyarrow.float64(), 3))


def spans(columns: dict[str, list[Any]]) -> None:
    for end, times in (("from", [0.0, 0.0]), ("to", [4 / 30, 3 / 30])):
        columns[f"videos/observation.images.wrist/{end}_timestamp"] = times


def told(columns: dict[str, list[Any]]) -> None:
    columns["tasks"] = [["Sit down."], ["Stand up."]]


def text(path: str, content: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / path).write_text(content)


def doubled(path: str, field: str) -> Callable[[Path], Any]:
    """A JSON file in which a field stands twice, first with 9."""
    return lambda f: (f / path).write_text(
        (f / path).read_text().replace(f'"{field}"', f'"{field}": 9, "{field}"')
    )


def damaged(path: str, mark: bytes) -> Callable[[Path], Any]:
    """A file with bytes turned around behind a mark."""

    def change(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        place = content.index(mark)
        content[place : place + 3] = bytes(0xFF ^ byte for byte in content[place : place + 3])
        (folder / path).write_bytes(content)

    return change


def elsewhere(folder: Path) -> None:
    path = folder / "data/chunk-000/episode_000000.parquet"
    edit_table(
        path, lambda c: c.update({"observation.images.front": [{"bytes": None, "path": "/etc/passwd"}] * 4})
    )


def damaged_picture(folder: Path) -> None:
    """A video with a changed byte inside its second picture, whose decoder covers what is lost."""
    path = folder / f"{WRIST}/chunk-000/file-000.mp4"
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][3]
        place, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[place + size - 1] ^= 0xFF
    path.write_bytes(content)


def unknown_codec(folder: Path) -> None:
    path = folder / f"{WRIST}/chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))


WRIST = "videos/observation.images.wrist"
FAULTS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "a number beyond float32": ("v3.0", column(DATA_V3, "observation.state", huge), "frame 0: observation.state.* is 1e[+]300"),
    "two actions": ("v3.0", second(DATA_V3, "action"), "two columns called 'action'"),
    "two frame_index": ("v2.1", second("data/*/*.parquet", "frame_index"), "two columns called 'frame_index'"),
    "outcomes between": ("v2.1", outcomes([0.0, 0.0, 0.0, 0.7]), "episode 0, frame 3: next.success is '0.7', expected true"),
    "outcomes that are no number": ("v2.1", outcomes([0.0, float("nan"), 0.0, 1.0]), "frame 1: next.success is 'nan'"),
    "outcomes in words": ("v2.1", outcomes(["False"] * 4), "frame 0: next.success is 'False', expected true or false"),
    "two outcomes a frame": ("v2.1", outcomes([[True, False]] * 4), "next.success is '.True, False.'"),
    "an index of two tasks": ("v2.1", text("meta/tasks.jsonl", '{"task_index": 0, "task": "a"}\n{"task_index": 0, "task": "b"}'), "task_index 0 stands for \"a\" and for \"b\""),
    "an index of two tasks in a table": ("v3.0", tasks(task_index=[0, 0], task=list(TASKS)), "task_index 0 stands for"),
    "a task without text": ("v3.0", tasks(task_index=[0, 1], task=[None, "b"]), "task_index 0 has task None, expected a whole number and text"),
    "other tasks than the rows": ("v3.0", lambda f: edit_table(f / EPISODES, told), "task_index 0 is 'Push the block.', its tasks in the metadata are 'Sit"),
    "videos that overlap": ("v3.0", lambda f: edit_table(f / EPISODES, spans), "begins at 0.000 s of a video of observation.images.wrist, in which episode"),
    "text for a time": ("v3.0", column(EPISODES, f"{WRIST}/from_timestamp", lambda a: pyarrow.array(["0"] * len(a))), "from_timestamp holds '0', expected numbers"),
    "lists for a time": ("v3.0", column(EPISODES, f"{WRIST}/to_timestamp", lambda a: pyarrow.array([[1.0, 2.0]] * len(a))), "to_timestamp holds .*, expected numbers"),
    "no features": ("v3.0", info(lambda i: i.pop("features")), "features is null, expected an object"),
    "a feature that is none": ("v3.0", info(lambda i: i["features"].update(action=None)), "feature action is null, expected an object"),
    "no action": ("v2.1", info(lambda i: i.update(features={})), "info.json lists no vector 'action'"),
    "an action of no kind": ("v2.1", info(lambda i: i["features"]["action"].update(dtype="x")), 'action has dtype "x" and shape .3., expected numbers'),
    "a state without a shape": ("v3.0", info(lambda i: i["features"]["observation.state"].pop("shape")), "observation.state has dtype \"float32\" and no shape"),
    "paths that are no text": ("v3.0", info(lambda i: i.update(data_path=[])), r"data_path is \[\], expected a path such as 'data/"),
    "a deep file": ("v2.1", text(INFO, "[" * 100_000), "nested too deeply"),
    "a deep line": ("v2.1", text("meta/episodes.jsonl", "[" * 100_000), "line 1 .*nested too deeply"),
    "a field that stands twice": ("v3.0", doubled(INFO, "fps"), "the name 'fps' occurs twice"),
    "a field that stands twice in a line": ("v2.1", doubled("meta/episodes.jsonl", "length"), "line 1 .*'length' occurs twice"),
    "a file of nothing": ("v3.0", text(INFO, "null"), "info.json holds null, expected an object"),
    "a length that is no number": ("v2.1", text("meta/episodes.jsonl", '{"episode_index": 0, "length": true}'), "has length true, expected whole numbers"),
    "images that are not there": ("images", lambda f: edit_table(f / "data/chunk-000/episode_000000.parquet", lambda c: c.pop("observation.images.front")), "no column 'observation.images.front', where"),
    "videos said to be images": ("v3.0", info(lambda i: i["features"]["observation.images.front"].update(dtype="image")), "no column 'observation.images.front', where"),
    "cameras of one name": ("v3.0", info(lambda i: i["features"].update({"observation.front": {"dtype": "image", "shape": [4, 4, 3]}})), "observation.images.front and observation.front are both called 'front'"),
    "a length of 64 bits": ("v3.0", column(EPISODES, "length", lambda a: pyarrow.array([2**64 - 1, 3], pyarrow.uint64())), "length holds 18446744073709551615, expected whole numbers of at most 63 bits"),
    "a folder for a table": ("v3.0", lambda f: ((f / DATA_V3).unlink(), (f / DATA_V3).mkdir()), "is a folder; expected a file of the dataset there"),
    "a link to nothing": ("v3.0", lambda f: ((f / DATA_V3).unlink(), (f / DATA_V3).symlink_to("gone")), "is a link that leads to no file, and"),
    "a folder for the information": ("v3.0", lambda f: ((f / INFO).unlink(), (f / INFO).mkdir()), "info.json is a folder; expected"),
    "a path a gigabyte long": ("v3.0", info(lambda i: i.update(data_path="{chunk_index:x>999999999d}")), "data_path is .*, expected a path with plain places"),
    "a path of something else": ("v3.0", info(lambda i: i.update(data_path="{chunk_index.__class__}")), "data_path is .*, expected a path with plain places"),
    "a path that is the folder": ("v3.0", info(lambda i: i.update(data_path=".")), "is a folder; expected a file"),
    "a count below 0": ("v3.0", info(lambda i: i.update(total_frames=-1)), "total_frames is -1, expected a whole number from 0"),
    "a number without end": ("v2.1", text(INFO, '{"fps": ' + "9" * 5000 + "}"), "not valid JSON .one of its numbers has more digits than can be read"),
    "a height that is true": ("v3.0", info(lambda i: i["features"]["observation.images.front"].update(shape=[True, 96, 3])), r"front has shape \[true, 96, 3\], expected three sizes"),
    "an action of a billion numbers": ("v3.0", info(lambda i: i["features"]["action"].update(shape=[10**9])), r"action has shape \[1000000000\], expected one whole number from 1 to 65536"),
    "no episodes": ("v2.1", lambda f: (info(lambda i: i.update(total_episodes=0, total_frames=0))(f), text("meta/episodes.jsonl", "\n")(f)), "has no episodes"),
    "tasks that are nothing": ("v2.1", text("meta/episodes.jsonl", '{"episode_index": 0, "length": 4, "tasks": [null]}'), r"episode 0 has tasks \[null\], expected a list of texts"),
    "a task that is half a letter": ("v2.1", text("meta/tasks.jsonl", '{"task_index": 0, "task": "\\ud800"}'), "the task of task_index 0 is .*, which is no UTF-8 text"),
    "actions of no robot": ("v3.0", column(DATA_V3, "action", lambda a: pyarrow.array([[1e10, 0.0, 0.0]] * len(a), pyarrow.list_(pyarrow.float32(), 3))), "goes from 1e[+]10 to 1e[+]10, expected"),
    "an episode's name damaged": ("v3.0", damaged(EPISODES, b"Push the block."), "file-000.parquet cannot be read as parquet"),
    "an image damaged": ("images", damaged("data/chunk-000/episode_000000.parquet", b"IHDR"), "episode_000000.parquet cannot be read as parquet|cannot be read as an image|no image"),
    "an image elsewhere": ("images", elsewhere, "refers to /etc/passwd, which is no file in the dataset's folder"),
    "a damaged picture": ("v3.0", damaged_picture, "file-000.mp4 has a damaged picture at"),
    "an unknown codec": ("v3.0", unknown_codec, "file-000.mp4 cannot be read as video"),
    "a video that is text": ("v3.0", text(f"{WRIST}/chunk-000/file-000.mp4", "hello" * 99), r"cannot be read as video \(Invalid data found when processing input\)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_contradiction_is_named(sound: dict[str, Path], fault: str, tmp_path: Path) -> None:
    version, change, sentence = FAULTS[fault]
    folder, out = altered(sound, version, change, tmp_path / "data"), tmp_path / "out"
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as caught:
        convert_lerobot(ConvertLeRobot(folder, out, processes=1), progress=False)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert any(sign in str(caught.value).rsplit(str(folder), 1)[1] for sign in (";", ":")), (
        "nothing says what to do"
    )
    assert not out.exists() or list(out.glob("*.npz")), "the folder was claimed without an episode"


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"instructions": "("}, "--instructions has '(', which is not a regular expression"),
        ({"hz": 1e-320}, "has 30 frames per second, of which 9.99989e-321 cannot be kept evenly"),
        ({"episodes": "9" * 5000}, "--episodes has '999"),
        ({"size": (10**6, 10**6)}, "--size is 1000000 x 1000000, expected between 1 and 4096 pixels"),
        ({"cameras": ("front", "front")}, "are both called 'front' on the canvas; choose one of them with"),
    ],
)
def test_an_option_that_cannot_be_is_named(
    sound: dict[str, Path], options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        convert_lerobot(
            ConvertLeRobot(sound["v3.0"], tmp_path / "out", processes=1, **options), progress=False
        )


def test_the_action_may_be_the_state(sound: dict[str, Path], tmp_path: Path) -> None:
    dataset = LeRobotDataset(sound["v3.0"], state="action")
    rows = dataset.rows(0)
    assert rows.state is not None
    np.testing.assert_array_equal(rows.state, rows.action)
