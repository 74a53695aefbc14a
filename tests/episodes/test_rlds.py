"""RT-1's dataset format becomes dataset folders."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real2sim.actions import FIELDS
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.episodes.rlds import RECORD, ConvertRLDS, RLDSEpisodes, convert_rlds, episode_arrays, read_rlds

DATA = Path(__file__).parent.parent / "data" / "fractal_tiny" / "fractal20220817_data" / "0.1.0"
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="reading RLDS needs the extra [tf]"
)


def episode(frames: int = 4, **aspects: bool) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    action = {name: rng.normal(size=(frames, where.stop - where.start)) for name, where in FIELDS.items()}
    action["terminate_episode"] = np.tile(np.array([0, 1, 0], np.int32), (frames, 1))
    observation = {
        "image": rng.integers(0, 256, (frames, 8, 10, 3), dtype=np.uint8),
        "natural_language_instruction": np.array([b"pick the can"] * frames, dtype=object),
    }
    return {"steps": {"action": action, "observation": observation}, "aspects": aspects}


def test_action_fields_are_joined_in_alphabetical_order() -> None:
    given = episode()
    arrays = episode_arrays(given)
    actions = given["steps"]["action"]
    joined = np.concatenate([actions[name] for name in sorted(actions)], axis=1)
    assert arrays["action"].dtype == np.float32
    assert np.array_equal(arrays["action"], joined.astype(np.float32))
    assert np.array_equal(arrays["action"][:, 7:10], np.tile([0, 1, 0], (4, 1)))
    assert arrays["instruction"] == "pick the can"
    assert np.array_equal(arrays["image"], given["steps"]["observation"]["image"])


def test_the_sentence_embedding_is_kept_where_there_is_one() -> None:
    assert "embedding" not in episode_arrays(episode())
    given = episode()
    given["steps"]["observation"]["natural_language_embedding"] = np.tile(np.arange(512.0), (4, 1))
    assert np.array_equal(episode_arrays(given)["embedding"], np.arange(512, dtype=np.float32))


def test_success_is_kept_only_where_the_dataset_knows_it() -> None:
    assert "success" not in episode_arrays(episode())
    assert "success" not in episode_arrays(episode(success=True, has_aspects=False))
    assert episode_arrays(episode(success=True, has_aspects=True))["success"] == True  # noqa: E712
    assert not episode_arrays(episode(success=False))["success"]


def test_a_frame_without_an_action_is_refused() -> None:
    given = episode()
    given["steps"]["observation"]["image"] = given["steps"]["observation"]["image"][1:]
    with pytest.raises(ValueError, match="one action for each"):
        episode_arrays(given)


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no features\.json"):
        next(read_rlds(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_missing_tensorflow_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"real2sim\[tf\]"):
        convert_rlds(ConvertRLDS(DATA, tmp_path))


def test_sample_has_the_published_feature_tree() -> None:
    features = json.loads((DATA / "features.json").read_text())["featuresDict"]["features"]
    step = features["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    assert sorted(step) == ["action", "is_first", "is_last", "is_terminal", "observation", "reward"]
    assert sorted(step["action"]["featuresDict"]["features"]) == sorted(FIELDS)
    image = step["observation"]["featuresDict"]["features"]["image"]["image"]
    assert (image["shape"]["dimensions"], image["encodingFormat"]) == (["256", "320", "3"], "jpeg")
    assert len(step["observation"]["featuresDict"]["features"]) == 14


@needs_tensorflow
def test_sample_dataset_becomes_a_folder_of_episodes(tmp_path: Path) -> None:
    assert convert_rlds(ConvertRLDS(DATA, tmp_path / "npz")) == 3
    files = dataset_files(tmp_path / "npz")
    assert [path.name for path in files] == ["000000.npz", "000001.npz", "000002.npz"]
    found = {path.name: read_npz(path, ("image", "action", "instruction", "success")) for path in files}
    assert sorted(len(arrays["image"]) for arrays in found.values()) == [4, 5, 6]
    for arrays in found.values():
        assert arrays["image"].shape[1:] == (256, 320, 3)
        # Terminate on the last step, move the arm on the others.
        assert (arrays["action"][:, 7:10].argmax(axis=1) == [1] * (len(arrays["action"]) - 1) + [0]).all()
        assert bool(arrays["success"]) == (str(arrays["instruction"]) == "pick the disc")


@needs_tensorflow
@pytest.mark.parametrize("split", ["train", "train[1:]", "train[:67%]"])
def test_episodes_read_by_number_are_those_of_the_conversion(split: str) -> None:
    episodes = RLDSEpisodes(DATA, split)
    expected = [episode_arrays(episode) for episode in read_rlds(DATA, split)]
    assert len(episodes) == len(expected)
    for number in reversed(range(len(expected))):
        found = episodes[number]
        assert all(np.array_equal(array, expected[number][name]) for name, array in found.items())
    assert episodes.where(0).endswith("train[1]" if split == "train[1:]" else "train[0]")


@needs_tensorflow
def test_a_stopped_conversion_continues_and_equals_a_whole_one(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for out in (whole, stopped):
        convert_rlds(ConvertRLDS(DATA, out))
    (stopped / "000002.npz").unlink()
    before = (stopped / "000001.npz").stat().st_mtime_ns
    assert convert_rlds(ConvertRLDS(DATA, stopped)) == 3
    assert (stopped / "000001.npz").stat().st_mtime_ns == before
    for path in dataset_files(whole):
        first, second = read_npz(path), read_npz(stopped / path.name)
        assert all(np.array_equal(first[name], second[name]) for name in first)


@needs_tensorflow
def test_episodes_of_two_datasets_are_not_mixed(tmp_path: Path) -> None:
    convert_rlds(ConvertRLDS(DATA, tmp_path, split="train[:1]"))
    with pytest.raises(ValueError, match=RECORD):
        convert_rlds(ConvertRLDS(DATA, tmp_path))
    with pytest.raises(ValueError, match="no split 'test'; there are train"):
        convert_rlds(ConvertRLDS(DATA, tmp_path / "other", split="test"))
