# ruff: noqa: E501 - sentences are matched whole
"""Damaged and lying RLDS datasets end with one sentence that names file, episode and feature, and leave no episode."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_rlds import edit_examples, encoded, image, make_rlds, picture, tensor

from real2sim.cli import main
from real2sim.episodes.rlds.convert import ConvertRLDS, convert_rlds

Episodes = list[dict[str, Any]]
IMAGE = "steps/observation/image"
TEXT = "steps/observation/natural_language_instruction"


def refused(data: Path, out: Path, sentence: str, **settings: Any) -> None:
    with pytest.raises((ValueError, OSError), match=sentence):
        convert_rlds(ConvertRLDS(data, out, **{"processes": 1, **settings}), progress=False)


def set_features(folder: Path, **features: Any) -> None:
    """Set what ``features.json`` says of features of a step; ``image`` is the observation's, ``success`` the episode's."""
    path = folder / "features.json"
    tree = json.loads(path.read_text())
    episode = tree["featuresDict"]["features"]
    steps = episode["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    for name, value in features.items():
        if name == "image":
            steps["observation"]["featuresDict"]["features"]["image"] = value
        elif name == "success":
            episode["aspects"]["featuresDict"]["features"]["success"] = value
        else:
            steps[name] = value
    path.write_text(json.dumps(tree))


def png_that_claims(size: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def item(name: str, index: int, value: Any) -> Callable[[Episodes], None]:
    return lambda episodes: episodes[1][name].__setitem__(index, value)


def whole(name: str, value: Any) -> Callable[[Episodes], None]:
    return lambda episodes: episodes[1].__setitem__(name, value)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda episodes: episodes[1][IMAGE].pop(), rf"train\[1\]: {IMAGE} has 3 images for 4 steps"),
        (lambda episodes: episodes[1][IMAGE].append(b""), rf"train\[1\]: {IMAGE} has 5 images for 4 steps"),
        (item(IMAGE, 2, b""), rf"train\[1\], step 2: {IMAGE} is an image of 0 bytes"),
        (item(IMAGE, 2, b"hello"), r"step 2: .* is no image: its 5 bytes begin with b'hello', expected JPEG or PNG"),
        (item(IMAGE, 2, png_that_claims(60_000)), "step 2: .* claims to be larger than any camera's image"),
        (item(IMAGE, 2, encoded(np.full((24, 32), 9000, np.uint16), "png")), "more than 8 bits per channel"),
        (
            item(IMAGE, 1, encoded(picture(1, 1, (30, 40)), "jpeg")),
            r"train\[1\], step 1: image has a frame of 30 x 40 pixels, the first frame of all has 24 x 32; give --size",
        ),
        (whole("steps/action", np.zeros(11, np.float32)), r"train\[1\]: steps/action has 11 numbers, which are no whole steps of 7"),
        (whole("steps/action", np.full(28, 3e38, np.float32)), r"'action\.0' goes from .* to 3e\+38"),
        (lambda episodes: episodes[1].pop("steps/action"), r"has no feature 'steps/action', .* leave the episode out"),
        (whole(TEXT, [b"x"]), rf"{TEXT} has 1 texts for 4 steps"),
        (whole(TEXT, ["öffne".encode("latin-1")] * 4), rf"train\[1\]: {TEXT} is not UTF-8 text"),
        (whole("aspects/success", np.zeros(0, np.int64)), r"train\[1\]: aspects/success is \[\], expected one number, 0 or 1"),
        (whole("aspects/success", np.array([7])), r"aspects/success is \[7\], expected one number, 0 or 1"),
        (whole("aspects/success", np.array([0, 1])), r"aspects/success is \[0 1\], expected one number, 0 or 1"),
    ],
)  # fmt: skip
def test_an_episode_that_is_damaged_is_named(
    damage: Callable[[Episodes], None], sentence: str, tmp_path: Path
) -> None:
    data = make_rlds(tmp_path / "data", "flat", success=True)
    edit_examples(data, damage)
    refused(data, tmp_path / "out", sentence)


@pytest.mark.parametrize(
    ("embedding", "sentence"),
    [
        (np.zeros(0, np.float32), "has 0 rows for 4 steps"),
        (np.zeros(511, np.float32), "has 511 numbers, which are no whole steps of 512"),
        (np.full(4 * 512, np.nan, np.float32), "of step 0 is not finite"),
    ],
)
def test_an_embedding_that_is_damaged_is_named(embedding: np.ndarray, sentence: str, tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", embedding=True)
    edit_examples(data, whole("steps/observation/natural_language_embedding", embedding))
    refused(data, tmp_path / "out", rf"train\[1\]: steps/observation/natural_language_embedding {sentence}")


@pytest.mark.parametrize("value", [np.nan, 0.5])
def test_an_outcome_that_is_no_yes_or_no_is_named(value: float, tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", "flat", success=True)
    set_features(data, success=tensor(0, "float32"))
    edit_examples(
        data,
        lambda episodes: [one.update({"aspects/success": np.array([value], np.float32)}) for one in episodes],
    )
    refused(data, tmp_path / "out", rf"aspects/success is \[{value}\], expected one number, 0 or 1")


def test_an_outcome_in_words_is_not_read_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = make_rlds(tmp_path / "data", "flat", success=True)
    set_features(data, success={"text": {}})
    assert convert_rlds(ConvertRLDS(data, tmp_path / "out", processes=1), progress=False) == 3
    assert "aspects/success is no number, so outcomes are not read" in caplog.text
    with np.load(tmp_path / "out" / "000000.npz") as found:
        assert "success" not in found.files


def shaped(*sizes: Any) -> dict[str, Any]:
    return {"tensor": {"dtype": "float32", "encoding": "none", "shape": {"dimensions": list(sizes)}}}


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        ({"action": shaped("6")}, "has 21 numbers, which are no whole steps of 6"),
        ({"action": shaped("1000000000000")}, "says that steps/action has 1000000000000 numbers a step, expected at most"),
        ({"action": shaped("0")}, r"action is numbers of the shape \[0\], expected a feature of numbers"),
        ({"action": shaped("x")}, r"the shape of steps/action is \['x'\], expected a list of whole numbers"),
        ({"action": tensor(7, "complex64")}, "action is of the type complex64, expected a feature of numbers"),
        ({"action": {"tensor": {"dtype": "float32", "encoding": "zlib"}}}, "action is numbers encoded as zlib"),
        ({"action": {"sequence": {"feature": tensor(7)}}}, "action is a list of varying length"),
        ({"action": image((24, 32, 3))}, "action is an image, expected a feature of numbers"),
        ({"action": None}, r"features\.json is not the feature tree of a dataset \(steps/action holds null"),
        ({"is_first": tensor(3, "bool")}, "steps/is_first has 4 numbers, which are no whole steps of 3"),
        ({"image": {"image": {"dtype": "uint16"}}}, "is an image of 8 bits; image are images of uint16"),
    ],
)  # fmt: skip
def test_features_that_do_not_fit_the_episodes_are_named(
    features: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    set_features(data, **features)
    refused(data, tmp_path / "out", sentence)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "../x", r"name is '\.\./x', expected letters"),
        ("name", ["a"], r"name is \['a'\], expected letters"),
        ("version", {"a": 1}, "version is .*, expected letters"),
        ("splits", [{"name": 3}], "lists splits without names"),
        ("splits", [{"name": "train", "shardLengths": ["3"]}] * 2, r"two splits of one name \(train, train\)"),
        ("shardLengths", [3.5], r"shardLengths of train is \[3\.5\], expected a list"),
        ("shardLengths", "3", 'shardLengths of train is "3", expected a list'),
        ("shardLengths", ["-3"], "shardLengths of train is .*, expected a list"),
        ("shardLengths", [True], r"shardLengths of train is \[true\], expected a list"),
        ("filepathTemplate", "/etc/passwd", "filepathTemplate of train is '/etc/passwd', expected the name of files in the folder"),
        ("filepathTemplate", "../../x", "filepathTemplate of train is .*, expected the name of files in the folder"),
        ("filepathTemplate", 3, "filepathTemplate of train is 3, expected the name of files in the folder"),
    ],
)  # fmt: skip
def test_what_the_dataset_says_of_itself_is_read_strictly(
    field: str, value: Any, sentence: str, tmp_path: Path
) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    path = data / "dataset_info.json"
    info = json.loads(path.read_text())
    (info if field in ("name", "version", "splits") else info["splits"][0])[field] = value
    path.write_text(json.dumps(info))
    refused(data, tmp_path / "out", rf"dataset_info\.json.* {sentence}")


def test_a_folder_in_the_place_of_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    (file,) = data.glob("*.tfrecord*")
    file.unlink()
    file.mkdir()
    refused(data, tmp_path / "out", "is no file, and dataset_info.json says that split train has 1 files")
    file.rmdir()
    file.symlink_to(file.name)
    refused(data, tmp_path / "out", "is no file, and dataset_info.json says that split train has 1 files")
    (data / "features.json").unlink()
    (data / "features.json").mkdir()
    refused(data, tmp_path / "out", "features.json is a folder; expected a JSON file")


def test_frames_of_another_size_are_resized_where_that_is_asked_for(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    edit_examples(data, item(IMAGE, 1, encoded(picture(1, 1, (30, 40)), "jpeg")))
    assert convert_rlds(ConvertRLDS(data, tmp_path / "out", processes=1, size=(24, 32)), progress=False) == 3


def test_a_refused_command_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    edit_examples(data, lambda episodes: episodes[1][IMAGE].pop())
    with pytest.raises(SystemExit) as ended:
        main(f"convert rlds {data} --out {tmp_path / 'out'} --processes 1".split())
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"state": ("action",)}, "has no feature of numbers called 'action'"),
        ({"state": ("image",)}, "image is an image, expected a feature of numbers"),
        ({"image": ("action",)}, "action is numbers, expected a camera"),
        ({"instruction": "image"}, "image is an image, expected a text"),
        ({"split": "train[:" + "9" * 5000 + "]"}, "split is 'train.:999"),
        (
            {"control_hz": 1e308, "hz": 1e-10},
            "of which 1e-10 cannot be kept evenly; choose one of ([^,]*, ){15}[^,]*$",
        ),
        ({"control_hz": 1e300}, "control_hz is 1e\\+300; expected at least 0.0001 and at most 10000"),
        ({"keep_out": (Path("/nowhere"),)}, "/nowhere is no suite, so nothing can be kept out for it"),
    ],
)
def test_options_that_do_not_fit_the_dataset_are_named(
    settings: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    refused(make_rlds(tmp_path / "data", "flat"), tmp_path / "out", sentence, **settings)


def test_a_suite_that_does_not_say_its_sources_keeps_nothing_out_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "suite.json").write_text("{}")
    data = make_rlds(tmp_path / "data", "flat")
    config = ConvertRLDS(data, tmp_path / "out", processes=1, keep_out=(tmp_path / "suite",))
    assert convert_rlds(config, progress=False) == 3
    assert "does not say which episodes its starts come from; none is left out" in caplog.text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"image": ("image", "image")}, ": --image means image twice; name it once"),
        ({"action": ("action", "action")}, ": --action means action twice; name it once"),
    ],
)
def test_a_feature_that_is_named_twice_is_refused_by_option(
    settings: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    refused(make_rlds(tmp_path / "data", "flat"), tmp_path / "out", sentence, **settings)


def test_a_name_of_a_feature_that_is_no_text_is_said(tmp_path: Path) -> None:
    from real2sim.episodes.rlds.example import Example

    with pytest.raises(ValueError, match="here has a feature whose name is no text; its bytes have changed"):
        Example(memoryview(b"\x0a\x07\x0a\x05\x0a\x01\xff\x12\x00"), "here")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"featuresDict": 0.5}, "featuresDict of steps/action is 0.5, expected an object"),
        ({"featuresDict": {"features": []}}, r"features of steps/action is \[\], expected an object"),
        ({"tensor": [1]}, r"tensor of steps/action is \[1\], expected an object"),
        ({"tensor": {"shape": {}}}, "dtype of steps/action is null, expected text"),
        ({"tensor": {"dtype": "float32", "shape": 7}}, "shape of steps/action is 7, expected an object"),
    ],
)
def test_a_feature_of_another_kind_is_said(tmp_path: Path, entry: dict[str, Any], sentence: str) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    set_features(data, action=entry)
    refused(
        data, tmp_path / "out", f"features.json is not the feature tree of a dataset .{sentence}.; download"
    )


def test_a_feature_that_is_null_is_said_as_json_says_it(tmp_path: Path) -> None:
    data = make_rlds(tmp_path / "data", "flat")
    set_features(data, action=None)
    refused(data, tmp_path / "out", "steps/action holds null, expected an object")
