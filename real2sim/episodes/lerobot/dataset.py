"""A LeRobot dataset, read episode by episode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from real2sim.episodes.images import resized
from real2sim.episodes.lerobot.layout import Camera, Vector, read_layout
from real2sim.episodes.lerobot.metadata import Entry, check_files, check_rows, read_entries
from real2sim.episodes.lerobot.rows import ENVIRONMENT, TIMESTAMP_TOLERANCE, RowReader, Rows, check_size
from real2sim.episodes.lerobot.tasks import read_tasks
from real2sim.episodes.lerobot.video import frames_at


class LeRobotDataset:
    """The episodes of a dataset of version 2.0, 2.1 or 3.0; only metadata is read until one is asked for.

    Raises what `read_layout` and `read_entries` raise.
    """

    def __init__(self, folder: Path, action: str | None = None, state: str | None = None) -> None:
        self.layout = read_layout(folder)
        self.action = self.layout.vector(*([action] if action else ["action", "actions"]))
        self.state = self._state(state)
        self.entries = read_entries(self.layout)
        self.tasks = read_tasks(self.layout)

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def _reader(self) -> RowReader:
        return RowReader(self.layout, self.tasks, self.action, self.state)

    @property
    def environment_names(self) -> tuple[str, ...]:
        """Numbers of `observation.environment_state`, what is known of objects; none for a dataset without."""
        return next((vector.names for vector in self.layout.vectors if vector.key == ENVIRONMENT), ())

    def check(self, numbers: Sequence[int], cameras: Sequence[Camera]) -> None:
        """Whether all files of some episodes are there, fetched, and have the rows that are expected."""
        chosen = [self.entries[number] for number in numbers]
        check_files(self.layout, chosen, cameras)
        check_rows(self.layout, self.entries, chosen)

    def rows(self, number: int) -> Rows:
        """Actions, state, task and outcome of an episode, checked."""
        return self._reader.read(self.entries[number])

    def frames(
        self, number: int, camera: Camera, indices: Sequence[int], size: tuple[int, int] | None = None
    ) -> Iterator[np.ndarray]:
        """Some frames of a camera, rising by index, uint8 (h w 3), resized to ``size`` (h w).

        Raises ValueError if one is missing or has another size than the dataset announces.
        """
        entry = self.entries[number]
        count = 0
        if camera.is_video:
            span = entry.videos[camera.key]
            times = [span.start + index / self.layout.fps for index in indices]
            for picture, found in frames_at(span.path, times, size, TIMESTAMP_TOLERANCE):
                check_size(f"{span.path}, episode {number}, frame {indices[count]}", camera, *found)
                count += 1
                yield picture
        else:
            for picture in self._reader.images(entry, camera, indices):
                count += 1
                yield resized(picture, size or picture.shape[:2])
        if count != len(indices):
            raise ValueError(
                f"{_where(entry)}: {camera.key} has {count} of {len(indices)} frames"
                "; download the dataset again"
            )

    def instructions(self, number: int) -> tuple[str, ...]:
        """The instructions of an episode, from the metadata where that has them."""
        return self.entries[number].tasks or (self.rows(number).instruction,)

    def source(self, number: int) -> str:
        """Dataset and number of an episode."""
        return f"{self.layout.folder.resolve().name}/{number}"

    def where(self, number: int) -> str:
        """The place of an episode, for errors."""
        return _where(self.entries[number])

    def _state(self, key: str | None) -> Vector | None:
        if key == "none":
            return None
        if key:
            return self.layout.vector(key)
        named = [name for name in ("observation.state", "state") if name in self.layout.columns]
        return self.layout.vector(named[0]) if named else None


def _where(entry: Entry) -> str:
    return f"{entry.data}, episode {entry.number}"
