from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from real2sim.episodes.run_folder import RowWriter, RunFolder
from real2sim.success.labels import HumanLabels, read_labels, write_labels
from real2sim.success.strips import StripSheets, film_strip, write_sheets


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = RunFolder(tmp_path / "run")
    folder.open({"suite": "toy"}, {})
    rng = np.random.default_rng(0)
    with RowWriter(folder, 0) as writer:
        for number in range(5):
            row = {
                "episode": f"e{number}",
                "task": "open_drawer",
                "policy": "p",
                "start": f"s{number}",
                "instruction": "open drawer",
            }
            video = rng.integers(0, 256, (4, 16, 16, 3), np.uint8)
            writer.write(row, video, np.zeros((3, 13), np.float32))
    return folder.path


def test_a_strip_begins_with_the_first_frame_and_ends_with_the_last() -> None:
    video = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((7, 4, 4, 3), np.uint8)
    strip = film_strip(video, columns=3, enlarge=2)
    assert strip.shape == (8, 24, 3)
    assert [int(strip[0, left, 0]) for left in (0, 8, 16)] == [0, 3, 6]


def test_the_last_frame_can_be_larger() -> None:
    video = np.zeros((5, 4, 4, 3), np.uint8)
    assert film_strip(video, columns=2, enlarge=1, last=3).shape == (12, 16, 3)


def test_an_episode_shorter_than_the_strip_shows_each_frame_once() -> None:
    assert film_strip(np.zeros((2, 4, 4, 3), np.uint8), columns=8).shape == (4, 8, 3)


def test_every_episode_is_on_a_sheet_and_waits_for_a_label(run: Path, tmp_path: Path) -> None:
    sheets = write_sheets(StripSheets(run, tmp_path / "sheets", per_sheet=2, columns=3))
    assert [path.name for path in sheets] == ["sheet-000.png", "sheet-001.png", "sheet-002.png"]
    with Image.open(sheets[0]) as picture:
        assert picture.size == (3 * 32, 2 * (32 + 12))
    rows = read_labels(tmp_path / "sheets" / "labels.csv")
    assert sorted(row["episode"] for row in rows) == [f"e{number}" for number in range(5)]
    assert {row["label"] for row in rows} == {""}


def test_labels_already_given_are_never_overwritten(run: Path, tmp_path: Path) -> None:
    config = StripSheets(run, tmp_path / "sheets", episodes=3)
    write_sheets(config)
    with pytest.raises(ValueError, match="is there already"):
        write_sheets(config)


def test_a_palette_makes_the_sheets_smaller(run: Path, tmp_path: Path) -> None:
    (full,) = write_sheets(StripSheets(run, tmp_path / "full"))
    (small,) = write_sheets(StripSheets(run, tmp_path / "small", colours=16))
    assert small.stat().st_size < full.stat().st_size / 2


def test_labels_survive_being_written(tmp_path: Path) -> None:
    rows = [{"episode": "a", "label": "success"}, {"episode": "b", "label": ""}]
    write_labels(tmp_path / "labels.csv", rows)
    assert read_labels(tmp_path / "labels.csv") == rows
    assert HumanLabels.from_csv(tmp_path / "labels.csv").labels == {"a": "success"}


def test_a_label_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' is labelled 'good'"):
        HumanLabels({"a": "good"})
