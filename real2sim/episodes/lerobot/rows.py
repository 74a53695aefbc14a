"""The rows of an episode: actions, state, task and outcome, checked against what the metadata says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.images import decoded
from real2sim.episodes.lerobot.columns import scalars, truth_values, vectors, whole_numbers
from real2sim.episodes.lerobot.files import open_parquet, reading_parquet
from real2sim.episodes.lerobot.layout import BOOKKEEPING, Camera, Layout, Vector
from real2sim.episodes.lerobot.metadata import Entry

TIMESTAMP_TOLERANCE = 1e-4
"""Seconds by which a timestamp may differ from frame_index / fps, and a video frame from its timestamp; LeRobot's."""
OUTCOME = "next.success"
ENVIRONMENT = "observation.environment_state"


@dataclass(frozen=True)
class Rows:
    """What the data file says of one episode."""

    action: np.ndarray
    """float32 (t n)."""
    state: np.ndarray | None
    """float32 (t m)."""
    instruction: str
    """Of the first frame."""
    tasks: int
    """How many different tasks the episode has."""
    success: bool | None
    """`next.success` of the last frame, where the dataset has it."""
    reached: np.ndarray | None = None
    """Whether the task is done at each frame, bool (t,), where the dataset has `next.success` for every frame."""
    environment: np.ndarray | None = None
    """What is known of objects, float32 (t e): `observation.environment_state`, where the dataset has it."""


class RowReader:
    """Reads the rows of one episode after the other; a file stays open until another one is needed."""

    def __init__(
        self, layout: Layout, tasks: Mapping[int, str], action: Vector, state: Vector | None
    ) -> None:
        self.layout, self.tasks, self.action, self.state = layout, tasks, action, state
        self._path: Path | None = None
        self._file: Any = None
        self._groups: tuple[int, ...] = ()
        self._table: Any = None

    def read(self, entry: Entry) -> Rows:
        """The rows of an episode.

        Raises ValueError, naming the file, the episode and the frame, where they contradict the metadata or a
        number is not finite.
        """
        wanted = [*BOOKKEEPING, self.action.key]
        wanted += [self.state.key] if self.state is not None else []
        wanted += [OUTCOME] if OUTCOME in self.layout.columns else []
        objects = next((vector for vector in self.layout.vectors if vector.key == ENVIRONMENT), None)
        objects = None if objects is None or objects.key in wanted else objects
        wanted += [objects.key] if objects is not None else []
        table = self._rows(entry, list(dict.fromkeys(wanted)))
        self._check_bookkeeping(entry, table)
        numbers = whole_numbers(table["task_index"], f"{entry.data}: column task_index")
        unknown = [number for number in np.unique(numbers).tolist() if number not in self.tasks]
        if unknown:
            raise ValueError(
                f"{_place(entry)}: task_index {unknown[0]} is not among the {len(self.tasks)} tasks of the dataset"
                "; repair the metadata or download the file again"
            )
        instruction = self.tasks[int(numbers[0])]
        if entry.tasks and instruction not in entry.tasks:
            raise ValueError(
                f"{_place(entry)}: task_index {numbers[0]} is {instruction!r}, its tasks in the metadata are "
                f"{', '.join(map(repr, entry.tasks))[:200]}; repair the metadata"
            )
        success, reached = _outcomes(entry, table)
        return Rows(
            action=_vectors(entry, table, self.action),
            state=None if self.state is None else _vectors(entry, table, self.state),
            instruction=instruction,
            tasks=len(set(numbers.tolist())),
            success=success,
            reached=reached,
            environment=None if objects is None else _vectors(entry, table, objects),
        )

    def images(self, entry: Entry, camera: Camera, frames: Sequence[int]) -> Iterator[np.ndarray]:
        """Frames uint8 (h w 3) of a camera whose images lie in the data file."""
        file = self._open(entry.data)
        if camera.key not in file.schema_arrow.names:
            raise ValueError(
                f"{entry.data} has no column {camera.key!r}, where the dataset's features say that its images lie"
                "; repair the metadata or download the file again"
            )
        wanted, row = {entry.row + frame: frame for frame in frames}, 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if row + count > entry.row and row < entry.row + entry.length:
                here = row
                batches = file.iter_batches(32, row_groups=[group], columns=[camera.key])
                while (values := _next_values(entry.data, batches)) is not None:
                    for offset in range(len(values)):
                        if here + offset in wanted:
                            value = values[offset].as_py()
                            yield self._image(entry, camera, wanted[here + offset], value)
                    here += len(values)
            row += count

    def _image(self, entry: Entry, camera: Camera, frame: int, value: Any) -> np.ndarray:
        where = f"{_place(entry)}, frame {frame}: {camera.key}"
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None and isinstance(value, dict) and value.get("path"):
            path = self.layout.folder / str(value["path"])
            if not path.is_file() or ".." in path.parts or not path.is_relative_to(self.layout.folder):
                raise FileNotFoundError(
                    f"{where} refers to {value['path']}, which is no file in the dataset's folder; download the "
                    "dataset again"
                )
            data = path.read_bytes()
        if not isinstance(data, bytes):
            raise ValueError(
                f"{where} holds no encoded image; expected its bytes or a path, download the file again"
            )
        picture = decoded(data, where)
        check_size(where, camera, picture.shape[0], picture.shape[1])
        return picture

    def _rows(self, entry: Entry, columns: Sequence[str]) -> Any:
        file = self._open(entry.data)
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(
                f"{entry.data} has no column {missing[0]!r}, which the dataset's features list"
                "; repair the metadata or download the file again"
            )
        if file.metadata.num_rows < entry.row + entry.length:
            raise ValueError(
                f"{entry.data} has {file.metadata.num_rows} rows, episode {entry.number} needs rows {entry.row} to "
                f"{entry.row + entry.length}; download the file again"
            )
        groups: list[int] = []
        first = row = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if row + count > entry.row and row < entry.row + entry.length:
                first = first if groups else row
                groups.append(group)
            row += count
        if self._table is None or tuple(groups) != self._groups or self._table.column_names != list(columns):
            with reading_parquet(entry.data):
                self._table = file.read_row_groups(groups, columns=list(columns)).select(list(columns))
            self._groups = tuple(groups)
        return self._table.slice(entry.row - first, entry.length)

    def _open(self, path: Path) -> Any:
        if path != self._path:
            if self._file is not None:
                self._file.close()
            self._file, self._path, self._table, self._groups = open_parquet(path), path, None, ()
        return self._file

    def _check_bookkeeping(self, entry: Entry, table: Any) -> None:
        def column(name: str) -> np.ndarray:
            return whole_numbers(table[name], f"{entry.data}: column {name}")

        expected = np.arange(entry.length)
        _check_equal(entry, "frame_index", column("frame_index"), expected)
        _check_equal(entry, "episode_index", column("episode_index"), np.full(entry.length, entry.number))
        index = column("index")
        _check_equal(entry, "index", index, expected + (index[0] if entry.index is None else entry.index))
        times = scalars(table["timestamp"], f"{_place(entry)}: column timestamp")
        late = ~(np.abs(times - expected / self.layout.fps) <= TIMESTAMP_TOLERANCE + times * 2**-23)
        if late.any():
            frame = int(np.flatnonzero(late)[0])
            if np.allclose(
                times - times[0], expected / self.layout.fps, atol=TIMESTAMP_TOLERANCE, rtol=2**-22
            ):
                raise ValueError(
                    f"{_place(entry)}: timestamps begin at {times[0]:.6f} s, expected 0 in every episode; subtract it "
                    "from the column timestamp"
                )
            raise ValueError(
                f"{_place(entry)}, frame {frame}: timestamp is {times[frame]:.6f} s, frame_index / fps is "
                f"{frame / self.layout.fps:.6f} s; the recording is not at {self.layout.fps:g} Hz, or its "
                "rows were exchanged: repair the metadata or download the file again"
            )


def _next_values(path: Path, batches: Iterator[Any]) -> Any:
    """The one column of the next batch, or None behind the last."""
    with reading_parquet(path):
        batch = next(batches, None)
    return None if batch is None else batch.column(0)


def check_size(where: str, camera: Camera, height: int, width: int) -> None:
    """Whether a decoded frame has the size that the dataset announces."""
    if (height, width) != (camera.height, camera.width):
        raise ValueError(
            f"{where} is {height} x {width} pixels, the dataset's features say {camera.height} x {camera.width}"
            "; repair the metadata or download the file again"
        )


def _outcomes(entry: Entry, table: Any) -> tuple[bool | None, np.ndarray | None]:
    """The outcome of the last frame, and whether the task is done at each frame where all are known.

    ``next.success`` speaks of the moment after a frame's action, so it belongs to the frame that follows; nothing
    follows the last one, and at the first one a task is done if it is done at the second.
    """
    if OUTCOME not in table.column_names:
        return None, None
    values = truth_values(table[OUTCOME], _place(entry) + "{}: " + OUTCOME)
    success = values[-1]
    if any(value is None for value in values):
        return success, None
    after = np.array(values, bool)
    reached = np.concatenate([after[:1], after[:-1]])
    reached[-1] = after[-1]
    return success, reached


def _check_equal(entry: Entry, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        frame = int(wrong[0])
        raise ValueError(
            f"{_place(entry)}, frame {frame}: {name} is {found[frame]}, expected {expected[frame]}; "
            "the rows are not those that the metadata describes, "
            "download the file again"
        )


def _vectors(entry: Entry, table: Any, vector: Vector) -> np.ndarray:
    return vectors(table[vector.key], vector.names, vector.key, _place(entry))


def _place(entry: Entry) -> str:
    return f"{entry.data}, episode {entry.number}"
