"""Dataset folders: what is written is read back, and what is broken is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.npz import dataset_files, read_dataset, read_npz
from real2sim.vid2world.training.windows import WindowSource


def episode(length: int = 4) -> dict[str, np.ndarray]:
    return {"image": np.full((length, 8, 8, 3), 7, np.uint8), "action": np.ones((length, 13), np.float32)}


def test_a_dataset_is_read_as_it_was_written(tmp_path: Path) -> None:
    for index in range(3):
        write_arrays(tmp_path / f"{index}.npz", {**episode(), "task": np.array(f"task {index}")})
    data = read_dataset(tmp_path, ("image", "action", "task"))
    assert data["image"].shape == (3, 4, 8, 8, 3)
    assert data["task"].tolist() == ["task 0", "task 1", "task 2"]
    assert len(read_dataset(tmp_path, limit=2)["action"]) == 2
    assert len(dataset_files(tmp_path)) == 3


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no npz file"):
        dataset_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="not a folder"):
        dataset_files(tmp_path / "nowhere")
    path = tmp_path / "0.npz"
    write_arrays(path, {"image": episode()["image"]})
    with pytest.raises(ValueError, match="no array 'action'"):
        read_npz(path)
    write_arrays(path, {**episode(), "action": np.ones((4, 7), np.float32)})
    with pytest.raises(ValueError, match=r"expected \(t, 13\)"):
        read_npz(path)
    write_arrays(path, {**episode(), "image": np.ones((4, 8, 8, 3), np.float32)})
    with pytest.raises(ValueError, match="expected uint8"):
        read_npz(path)
    write_arrays(path, episode())
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match="truncated"):
        read_npz(path)


def test_a_text_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_arrays(
        tmp_path / "a.npz",
        {"image": np.zeros((2, 4, 4, 3), np.uint8), "instruction": np.array("a\udcff")},
    )
    with pytest.raises(ValueError, match=r"a\.npz: instruction is 'a\\udcff', which is no UTF-8 text"):
        read_npz(tmp_path / "a.npz", ["image", "instruction"])


@pytest.mark.filterwarnings("error")
def test_actions_of_half_precision_are_read_without_a_warning(tmp_path: Path) -> None:
    actions = np.full((2, 13), 0.5, np.float16)
    write_arrays(tmp_path / "a.npz", {"image": np.zeros((2, 4, 4, 3), np.uint8), "action": actions})
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz")["action"], actions)


def test_episodes_of_different_length_cannot_be_stacked(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", episode(4))
    write_arrays(tmp_path / "b.npz", episode(5))
    with pytest.raises(ValueError, match="4 to 5 steps"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("odd", ["a.npz", "b.npz", "c.npz"])
def test_the_episode_of_another_size_is_named_not_a_healthy_one(tmp_path: Path, odd: str) -> None:
    for name in ("a.npz", "b.npz", "c.npz"):
        size = 8 if name == odd else 4
        write_arrays(tmp_path / name, {**episode(), "image": np.zeros((4, size, size, 3), np.uint8)})
    with pytest.raises(
        ValueError, match=f"{odd} has frames of 8 x 8 pixels, 2 other episodes have 4 x 4; leave"
    ):
        read_dataset(tmp_path)
    with pytest.raises(ValueError, match=f"{odd} has frames"):
        WindowSource(tmp_path, 2)


def test_hidden_files_beside_episodes_are_none(tmp_path: Path) -> None:
    (tmp_path / "._0.npz").write_bytes(b"Mac OS X")
    with pytest.raises(FileNotFoundError, match="holds no npz file"):
        dataset_files(tmp_path)
    write_arrays(tmp_path / "0.npz", {"action": np.zeros(1)})
    assert dataset_files(tmp_path) == [tmp_path / "0.npz"]
