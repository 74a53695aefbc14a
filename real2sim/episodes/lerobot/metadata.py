"""The episodes and tasks of a LeRobot dataset, without reading any frame, and whether its counts agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.lerobot.columns import scalars, whole_numbers
from real2sim.episodes.lerobot.files import (
    check_present,
    open_parquet,
    read_json_lines,
    reading_parquet,
    shown,
)
from real2sim.episodes.lerobot.layout import INFO_FILE, Camera, Layout

EPISODES_V2, EPISODES_V3 = "meta/episodes.jsonl", "meta/episodes"


@dataclass(frozen=True)
class VideoSpan:
    """Where an episode lies in a video file."""

    path: Path
    start: float
    """Seconds inside the file at which the episode begins."""


@dataclass(frozen=True)
class Entry:
    """One episode of a dataset."""

    number: int
    length: int
    """Frames."""
    data: Path
    row: int
    """Its first row in the data file."""
    index: int | None
    """Its first row in the whole dataset, where the metadata says so (version 3)."""
    tasks: tuple[str, ...]
    """Its instructions; empty where the metadata does not say."""
    videos: Mapping[str, VideoSpan] = field(default_factory=dict)
    """By camera key."""


def read_entries(layout: Layout) -> list[Entry]:
    """All episodes in order, once their counts are known to agree with each other and with ``info.json``."""
    entries = _entries_v2(layout) if layout.major == 2 else _entries_v3(layout)
    where = layout.folder / INFO_FILE
    if len(entries) != layout.total_episodes:
        raise ValueError(
            f"{where}: total_episodes is {layout.total_episodes}, the metadata lists {len(entries)} episodes; "
            "download the dataset again or repair its metadata"
        )
    for place, entry in enumerate(entries):
        if entry.number != place:
            raise ValueError(
                f"{layout.folder}: episode_index {entry.number} stands where {place} is expected; "
                "episodes must be numbered 0, 1, 2, ... without gaps"
            )
        if entry.length < 1:
            raise ValueError(
                f"{layout.folder}: episode {place} has length {entry.length}, expected at least 1"
                "; repair the metadata"
            )
    total = sum(entry.length for entry in entries)
    if total != layout.total_frames:
        raise ValueError(
            f"{where}: total_frames is {layout.total_frames}, the episodes' lengths add up to {total}; "
            "download the dataset again or repair its metadata"
        )
    return entries


def check_files(layout: Layout, entries: Sequence[Entry], cameras: Sequence[Camera]) -> None:
    """Whether every file of some episodes is there, and data files have as many rows as the episodes frames."""
    for path in dict.fromkeys(entry.data for entry in entries):
        check_present(path)
    keys = [camera.key for camera in cameras if camera.is_video]
    for path in dict.fromkeys(entry.videos[key].path for entry in entries for key in keys):
        check_present(path)


def check_rows(layout: Layout, entries: Sequence[Entry], among: Sequence[Entry]) -> None:
    """Whether the data files of ``among`` have as many rows as all their episodes together have frames."""
    wanted: dict[Path, int] = {}
    for entry in entries:
        wanted[entry.data] = wanted.get(entry.data, 0) + entry.length
    for path in dict.fromkeys(entry.data for entry in among):
        rows = open_parquet(path).metadata.num_rows
        if rows != wanted[path]:
            raise ValueError(
                f"{path} has {rows} rows, its episodes have {wanted[path]} frames together; download the file again"
            )


def _entries_v2(layout: Layout) -> list[Entry]:
    path = layout.folder / EPISODES_V2
    entries = []
    videos = [camera.key for camera in layout.cameras if camera.is_video]
    for row in read_json_lines(path, ("episode_index", "length")):
        number, length = row["episode_index"], row["length"]
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in (number, length)):
            raise ValueError(
                f"{path}: episode_index {shown(number)} has length {shown(length)}, expected whole numbers for both"
                "; repair the metadata"
            )
        indices = {"episode_index": number, "episode_chunk": number // layout.chunks_size}
        spans = {key: VideoSpan(layout.video_file(key, **indices), 0.0) for key in videos}
        tasks = row.get("tasks", [])
        if not (isinstance(tasks, list) and all(isinstance(task, str) for task in tasks)):
            raise ValueError(
                f"{path}: episode {number} has tasks {shown(tasks)}, expected a list of texts; repair the metadata"
            )
        entries.append(Entry(number, length, layout.data_file(**indices), 0, None, tuple(tasks), spans))
    return sorted(entries, key=lambda entry: entry.number)


def _entries_v3(layout: Layout) -> list[Entry]:
    folder = layout.folder / EPISODES_V3
    files = sorted(folder.glob("chunk-*/file-*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{folder} holds no chunk-*/file-*.parquet; expected the table of episodes there"
        )
    videos = [camera.key for camera in layout.cameras if camera.is_video]
    names = ["episode_index", "length", "dataset_from_index", "dataset_to_index"]
    names += ["data/chunk_index", "data/file_index"]
    for key in videos:
        names += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index")]
    times = [f"videos/{key}/{name}" for key in videos for name in ("from_timestamp", "to_timestamp")]
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*names, *times)}
    told: list[tuple[str, ...]] = []
    for path in files:
        file = open_parquet(path)
        missing = [name for name in (*names, *times) if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}; expected the episodes of a v3.0 dataset")
        texts = ["tasks"] if "tasks" in file.schema_arrow.names else []
        with reading_parquet(path):
            table = file.read(columns=[*names, *times, *texts])
            tasks = table["tasks"].to_pylist() if texts else [None] * table.num_rows
        for name in names:
            columns[name].append(whole_numbers(table[name], f"{path}: column {name}"))
        for name in times:
            columns[name].append(_seconds(path, table[name], name))
        told += [tuple(map(str, value)) if isinstance(value, list) else () for value in tasks]
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = np.argsort(table["episode_index"], kind="stable")
    table = {name: values[order] for name, values in table.items()}
    _check_ranges(layout, table)
    _check_times(layout, table, videos)
    return _rows_v3(layout, table, [told[i] for i in order], videos)


def _rows_v3(
    layout: Layout, table: Mapping[str, np.ndarray], told: Sequence[tuple[str, ...]], videos: Sequence[str]
) -> list[Entry]:
    starts: dict[Path, int] = {}
    entries = []
    for i in range(len(table["episode_index"])):
        at = {name: values[i].item() for name, values in table.items()}
        data = layout.data_file(chunk_index=at["data/chunk_index"], file_index=at["data/file_index"])
        first = starts.setdefault(data, at["dataset_from_index"])
        spans = {
            key: VideoSpan(
                layout.video_file(
                    key,
                    chunk_index=at[f"videos/{key}/chunk_index"],
                    file_index=at[f"videos/{key}/file_index"],
                ),
                at[f"videos/{key}/from_timestamp"],
            )
            for key in videos
        }
        row, index = at["dataset_from_index"] - first, at["dataset_from_index"]
        entries.append(Entry(at["episode_index"], at["length"], data, row, index, told[i], spans))
    return entries


def _check_ranges(layout: Layout, table: Mapping[str, np.ndarray]) -> None:
    expected = 0
    for number, length, first, last in zip(
        *(
            table[name].tolist()
            for name in ("episode_index", "length", "dataset_from_index", "dataset_to_index")
        ),
        strict=True,
    ):
        if last - first != length:
            raise ValueError(
                f"{layout.folder / EPISODES_V3}: episode {number} has length {length} and rows {first} to {last}, "
                f"which are {last - first}; repair the metadata"
            )
        if first != expected:
            raise ValueError(
                f"{layout.folder / EPISODES_V3}: episode {number} begins at row {first}, the one before ends at "
                f"{expected}; repair the metadata"
            )
        expected = last


def _check_times(layout: Layout, table: Mapping[str, np.ndarray], videos: Sequence[str]) -> None:
    for key in videos:
        spans = table[f"videos/{key}/to_timestamp"] - table[f"videos/{key}/from_timestamp"]
        wrong = np.abs(spans - table["length"] / layout.fps) > 1.001 / layout.fps
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{layout.folder / EPISODES_V3}: episode {table['episode_index'][i]} spans {spans[i]:.3f} s of the "
                f"video of {key}, its {table['length'][i]} frames at {layout.fps:g} Hz take "
                f"{table['length'][i] / layout.fps:.3f} s; repair the metadata"
            )
        _check_overlaps(layout, table, key)


def _check_overlaps(layout: Layout, table: Mapping[str, np.ndarray], key: str) -> None:
    """Whether the episodes that lie in one video file lie there one after the other."""
    at = {
        name: table[f"videos/{key}/{name}"]
        for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    }
    order = np.lexsort([at["from_timestamp"], at["file_index"], at["chunk_index"]])
    for before, after in pairwise(order):
        same = all(at[name][before] == at[name][after] for name in ("chunk_index", "file_index"))
        if same and at["from_timestamp"][after] < at["to_timestamp"][before] - 0.5 / layout.fps:
            raise ValueError(
                f"{layout.folder / EPISODES_V3}: episode {table['episode_index'][after]} begins at "
                f"{at['from_timestamp'][after]:.3f} s of a video of {key}, in which episode "
                f"{table['episode_index'][before]} ends at {at['to_timestamp'][before]:.3f} s; repair the metadata"
            )


def _seconds(path: Path, column: Any, name: str) -> np.ndarray:
    values = scalars(column, f"{path}: column {name}")
    if not (values >= 0).all():
        raise ValueError(
            f"{path}: column {name} holds values that are no times, expected seconds from 0"
            "; repair the metadata"
        )
    return values
