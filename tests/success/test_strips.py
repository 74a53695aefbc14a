from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from real2sim.episodes.run_folder import RowWriter, RunFolder
from real2sim.success.labels import HumanLabels, read_labels, write_labels
from real2sim.success.strips import SheetLayout, StripSheets, read_sheets, write_sheets


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


def test_a_strip_shows_the_first_frame_and_the_last_ones() -> None:
    assert SheetLayout((4, 4), columns=6, ending=3).shown(21) == [0, 6, 12, 18, 19, 20]
    assert SheetLayout((4, 4), columns=4, ending=1).shown(4) == [0, 1, 2, 3]
    assert SheetLayout((4, 4), columns=5, ending=3).shown(2) == [0, 0, 0, 0, 1]


def test_a_layout_without_a_first_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="ending < columns"):
        SheetLayout((4, 4), columns=3, ending=3)


def test_the_sheets_give_the_frames_back(run: Path, tmp_path: Path) -> None:
    write_sheets(StripSheets(run, tmp_path / "sheets", per_sheet=2, columns=3, ending=2, enlarge=2))
    rows, frames = read_sheets(tmp_path / "sheets")
    assert frames.shape == (5, 3, 16, 16, 3)
    for row, strip in zip(rows, frames, strict=True):
        np.testing.assert_array_equal(strip, RunFolder(run).episode(row["episode"])[0][[0, 2, 3]])


def test_a_sheet_that_is_missing_is_named(run: Path, tmp_path: Path) -> None:
    write_sheets(StripSheets(run, tmp_path / "sheets"))
    (tmp_path / "sheets" / "sheet-000.png").unlink()
    with pytest.raises(FileNotFoundError, match="sheet-000"):
        read_sheets(tmp_path / "sheets")


def test_every_episode_is_on_a_sheet_and_waits_for_a_label(run: Path, tmp_path: Path) -> None:
    sheets = write_sheets(StripSheets(run, tmp_path / "sheets", per_sheet=2, columns=4, enlarge=2))
    assert [path.name for path in sheets] == ["sheet-000.png", "sheet-001.png", "sheet-002.png"]
    with Image.open(sheets[0]) as picture:
        assert picture.size == (4 * 32, 2 * (32 + 12))
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
