"""Writes LeRobot datasets of version 3.0: several episodes per file, one video file per camera."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.lerobot.recording import CODECS, Recording
from real2sim.episodes.lerobot.rows import ENVIRONMENT, OUTCOME
from real2sim.episodes.lerobot.statistics import episode_statistics, merged_statistics
from real2sim.files import atomic_write, write_text
from real2sim.thread_priority import ordinary_priority


class VideoFile:
    """One mp4 that frames are appended to; it has no name to be found under until it is closed."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int, codec: str) -> None:
        import av

        # The encoder prints a page about itself otherwise.
        os.environ.setdefault("SVT_LOG", "1")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames = path, 0
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
        self._container = av.open(str(self._temporary), "w")
        stream: Any = self._container.add_stream(codec, rate=Fraction(fps), options=dict(CODECS[codec]))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        with ordinary_priority():
            stream.codec_context.open(strict=False)
        self._stream = stream

    def append(self, frames: np.ndarray) -> None:
        """Add frames uint8 (t h w 3)."""
        import av

        for picture in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = self.frames
            self.frames += 1
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Give the file its name."""
        self._container.mux(self._stream.encode())
        self._container.close()
        os.replace(self._temporary, self.path)


@dataclass
class _Open:
    """The files that episodes are being appended to."""

    index: int
    videos: dict[str, VideoFile]
    rows: list[dict[str, Any]] = field(default_factory=list)
    episodes: list[dict[str, Any]] = field(default_factory=list)


class LeRobotWriter:
    """Appends episodes to a dataset folder; `close` (or leaving the block) makes what was added visible.

    A folder that holds a dataset of the same recording is continued, in files of its own.  What was added since
    the last full file is lost when the process is killed.
    """

    def __init__(self, folder: Path, recording: Recording) -> None:
        self.folder, self.recording = folder, recording
        self.tasks: dict[str, int] = {}
        self.episodes, self.frames, self._next = 0, 0, 0
        self._stats: list[dict[str, Any]] = []
        self._current: _Open | None = None
        if (folder / "meta" / "info.json").is_file():
            self._continue()

    def add(
        self,
        task: str,
        images: Mapping[str, np.ndarray],
        action: np.ndarray,
        state: np.ndarray | None = None,
        environment: np.ndarray | None = None,
        success: np.ndarray | None = None,
    ) -> int:
        """Append an episode and give its number.

        ``images``: camera -> uint8 (t h w 3); ``action`` (t n) and ``state`` (t m): the action commanded at each
        frame, and the state it was decided in; ``environment`` (t e): what is known of objects at each frame;
        ``success`` (t,): whether the task is done after each frame's action.
        """
        given = {"action": action, "observation.state": state, ENVIRONMENT: environment}
        vectors = {name: np.asarray(v) for name, v in given.items() if v is not None}
        self._check(images, vectors, success)
        if self._current is None:
            files = {
                name: VideoFile(self._path(name), size, self.recording.fps, self.recording.codec)
                for name, size in self.recording.cameras.items()
            }
            self._current = _Open(self._next, files)
            self._next += 1
        current, length = self._current, len(action)
        number = self.tasks.setdefault(task, len(self.tasks))
        row: dict[str, Any] = {
            "episode_index": self.episodes,
            "length": length,
            "tasks": [task],
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + length,
            "data/chunk_index": 0,
            "data/file_index": current.index,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": current.index,
        }
        for name, video in current.videos.items():
            key = f"videos/observation.images.{name}"
            row |= {f"{key}/chunk_index": 0, f"{key}/file_index": current.index}
            row[f"{key}/from_timestamp"] = video.frames / self.recording.fps
            video.append(images[name])
            row[f"{key}/to_timestamp"] = video.frames / self.recording.fps
        stats = episode_statistics(images, vectors)
        for feature, values in stats.items():
            row |= {f"stats/{feature}/{name}": value for name, value in values.items()}
        current.episodes.append(row)
        columns: dict[str, Any] = {name: values.astype(np.float32) for name, values in vectors.items()}
        if success is not None:
            columns[OUTCOME] = np.asarray(success, bool)
        columns["timestamp"] = (np.arange(length) / self.recording.fps).astype(np.float32)
        columns["frame_index"] = np.arange(length)
        columns["episode_index"] = np.full(length, self.episodes)
        columns["index"] = self.frames + np.arange(length)
        columns["task_index"] = np.full(length, number)
        current.rows.append(columns)
        self._stats.append(stats)
        self.episodes += 1
        self.frames += length
        if len(current.episodes) >= self.recording.episodes_per_file:
            self.close()
        return self.episodes - 1

    def close(self) -> None:
        """Complete the files that are being written, and the metadata about them."""
        current, self._current = self._current, None
        if current is None:
            return
        for video in current.videos.values():
            video.close()
        place = f"chunk-000/file-{current.index:03d}.parquet"
        _write_parquet(self.folder / "data" / place, [_arrow(columns) for columns in current.rows])
        import pyarrow

        _write_parquet(
            self.folder / "meta" / "episodes" / place, [pyarrow.Table.from_pylist(current.episodes)]
        )
        tasks = {"task_index": list(self.tasks.values()), "task": list(self.tasks)}
        _write_parquet(self.folder / "meta" / "tasks.parquet", [pyarrow.table(tasks)])
        write_text(
            self.folder / "meta" / "stats.json", json.dumps(merged_statistics(self._stats), indent=2) + "\n"
        )
        info = {
            "codebase_version": "v3.0",
            "robot_type": self.recording.robot_type,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self.recording.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            "features": self.recording.features,
        }
        # Last, for it is what says that the rest is there.
        write_text(self.folder / "meta" / "info.json", json.dumps(info, indent=2) + "\n")

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, camera: str) -> Path:
        name = f"observation.images.{camera}"
        return self.folder / "videos" / name / "chunk-000" / f"file-{self._next:03d}.mp4"

    def _continue(self) -> None:
        from real2sim.episodes.lerobot.dataset import LeRobotDataset

        found = LeRobotDataset(self.folder)
        info = json.loads((self.folder / "meta" / "info.json").read_text(encoding="utf-8"))
        asked = json.loads(json.dumps(self.recording.features))
        if info["features"] != asked or found.layout.fps != self.recording.fps:
            raise ValueError(
                f"{self.folder} holds a recording of other features or another rate; choose another folder"
            )
        self.episodes, self.frames = len(found), found.layout.total_frames
        self.tasks = {task: number for number, task in found.tasks.items()}
        self._next = 1 + max(int(entry.data.stem.split("-")[1]) for entry in found.entries)
        stats = json.loads((self.folder / "meta" / "stats.json").read_text(encoding="utf-8"))
        self._stats = [stats]

    def _check(
        self, images: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray], success: np.ndarray | None
    ) -> None:
        recording, length = self.recording, len(vectors["action"])
        if set(images) != set(recording.cameras):
            raise ValueError(
                f"the episode has cameras {', '.join(images) or 'none'}, the recording "
                f"{', '.join(recording.cameras)}"
            )
        for name, (height, width) in recording.cameras.items():
            if images[name].shape != (length, height, width, 3) or images[name].dtype != np.uint8:
                raise ValueError(
                    f"camera {name}: frames are {images[name].dtype} {images[name].shape}, expected uint8 "
                    f"({length}, {height}, {width}, 3)"
                )
        if set(vectors) != set(recording.vectors):
            raise ValueError(
                f"the episode has {', '.join(vectors)}, the recording {', '.join(recording.vectors)}"
            )
        for what, names in recording.vectors.items():
            values = vectors[what]
            if values.shape != (length, len(names)) or not np.isfinite(values).all():
                raise ValueError(
                    f"{what} has shape {values.shape}, expected finite numbers ({length}, {len(names)})"
                )
        if (success is not None) != recording.outcomes or (success is not None and len(success) != length):
            found = "none" if success is None else str(len(success))
            raise ValueError(
                f"the episode has {found} outcomes for {length} frames; the recording has "
                f"{'one for each frame' if recording.outcomes else 'none'}"
            )
        if length < 1:
            raise ValueError("the episode has no frame")


def _arrow(columns: Mapping[str, np.ndarray]) -> Any:
    import pyarrow

    def column(values: np.ndarray) -> Any:
        if values.ndim == 1:
            return pyarrow.array(values)
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), values.shape[1])

    return pyarrow.table({name: column(values) for name, values in columns.items()})


def _write_parquet(path: Path, tables: Sequence[Any]) -> None:
    """One row group per table, as LeRobot's recorder writes one per episode."""
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file, pyarrow.parquet.ParquetWriter(file, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
