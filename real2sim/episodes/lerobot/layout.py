"""What ``meta/info.json`` of a LeRobot dataset says: its version, rate, cameras, vectors and where files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from real2sim.episodes.lerobot.files import read_object, shown
from real2sim.episodes.lerobot.patterns import DATA_PATHS, VIDEO_PATHS, filled_pattern, read_pattern
from real2sim.wording import did_you_mean

FASTEST, LARGEST = 10_000, 65_536
"""Frames per second and pixels of a side; larger numbers are no cameras'."""
COLOURS = (1, 3)
"""Numbers per pixel of what can be read as a picture."""
INFO_FILE = "meta/info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that every data file has."""
CAMERA_PREFIXES = ("observation.images.", "observation.")


@dataclass(frozen=True)
class Camera:
    """One camera of a dataset."""

    key: str
    """Feature name, e.g. ``observation.images.front``."""
    height: int
    width: int
    is_video: bool
    """Frames lie in mp4 files; otherwise as encoded images in the data files."""
    channels: int = 3
    """Numbers per pixel that ``info.json`` speaks of."""

    @property
    def name(self) -> str:
        """The key without what all cameras begin with."""
        for prefix in CAMERA_PREFIXES:
            if self.key.startswith(prefix):
                return self.key.removeprefix(prefix)
        return self.key


@dataclass(frozen=True)
class Vector:
    """One feature that holds several numbers per frame, such as ``action``."""

    key: str
    names: tuple[str, ...]
    """One name per number."""


@dataclass(frozen=True)
class Layout:
    """The shape of a dataset."""

    folder: Path
    version: str
    fps: float
    robot_type: str | None
    cameras: tuple[Camera, ...]
    vectors: tuple[Vector, ...]
    columns: tuple[str, ...]
    """Columns of the data files."""
    kinds: Mapping[str, str]
    """What the features that are no vectors are said to be, by key."""
    total_episodes: int
    total_frames: int
    chunks_size: int
    """Version 2: episodes per chunk folder."""
    data_path: str
    video_path: str | None

    @property
    def major(self) -> int:
        return int(self.version[1])

    @cached_property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    def camera(self, name: str) -> Camera:
        """The camera of a short name or of a full feature name."""
        whole = [camera for camera in self.cameras if camera.key == name]
        meant = whole or [camera for camera in self.cameras if camera.name == name]
        if len(meant) > 1:
            raise ValueError(
                f"{self.folder / INFO_FILE}: {name!r} is short for {' and for '.join(c.key for c in meant)}; "
                "write one of them out"
            )
        if not meant:
            raise ValueError(
                f"{self.folder} has no camera {name!r}{did_you_mean(name, self.camera_names)}; "
                f"it has {', '.join(self.camera_names) or 'none'}"
            )
        (camera,) = meant
        if camera.channels not in COLOURS:
            others = [c.name for c in self.cameras if c.channels in COLOURS]
            raise ValueError(
                f"{self.folder / INFO_FILE}: camera {camera.key} has {camera.channels} numbers per pixel, expected 3 "
                f"(colours) or 1 (grey); leave it out with --cameras {' '.join(others) or 'NAME'}"
            )
        return camera

    def vector(self, *keys: str) -> Vector:
        """The first of several features that is there and holds a vector."""
        found = {vector.key: vector for vector in self.vectors}
        for key in keys:
            if key in found:
                return found[key]
            if key in self.kinds:
                raise ValueError(
                    f"{self.folder / INFO_FILE}: {key} has {self.kinds[key]}, expected numbers (dtype float32, shape "
                    "[6], say); repair the entry or choose another feature"
                )
        raise ValueError(
            f"{self.folder / INFO_FILE} lists no vector {keys[0]!r} among the features"
            f"{did_you_mean(keys[0], list(found))}; it has {', '.join(found) or 'none'}"
        )

    def data_file(self, **indices: int) -> Path:
        """A data file, from the indices that its path is made of."""
        return self._file(self.data_path, "data_path", indices)

    def video_file(self, key: str, **indices: int) -> Path:
        """A video file of a camera, from the indices that its path is made of."""
        if self.video_path is None:
            raise ValueError(
                f"{self.folder / INFO_FILE}: camera {key} is a video and video_path is null; expected a path"
            )
        return self._file(self.video_path, "video_path", {"video_key": key, **indices})

    def _file(self, pattern: str, name: str, values: Mapping[str, Any]) -> Path:
        return self.folder / filled_pattern(f"{self.folder / INFO_FILE}: {name}", pattern, values)


def read_layout(folder: Path) -> Layout:
    """The layout of a dataset folder.

    Raises FileNotFoundError without ``meta/info.json``, ValueError for an unknown version or a field that
    cannot be right.
    """
    path = folder / INFO_FILE
    if not os.path.lexists(path):
        raise FileNotFoundError(
            f"{folder} has no {INFO_FILE}; expected the folder of a LeRobot dataset, with meta/, data/ and videos/"
        )
    info = read_object(path)
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise ValueError(
            f"{path}: codebase_version is {version!r}; {', '.join(VERSIONS)} can be read, convert the dataset "
            "with LeRobot's own scripts first"
        )
    features = info.get("features")
    if not isinstance(features, dict):
        raise ValueError(f"{path}: features is {shown(features)}, expected an object; download it again")
    for key, entry in features.items():
        if not isinstance(entry, dict):
            raise ValueError(
                f"{path}: feature {key} is {shown(entry)}, expected an object with dtype and shape"
                "; repair the metadata"
            )
    major = int(version[1])
    cameras = [_camera(path, key, entry) for key, entry in features.items() if _is_camera(path, key, entry)]
    vectors = [_vector(path, key, entry) for key, entry in features.items() if _is_vector(key, entry)]
    robot_type = info.get("robot_type")
    return Layout(
        folder=folder,
        version=version,
        fps=_rate(path, info.get("fps")),
        robot_type=None if robot_type is None else str(robot_type),
        cameras=tuple(cameras),
        vectors=tuple(vectors),
        columns=tuple(key for key, entry in features.items() if entry.get("dtype") != "video"),
        kinds={key: _said(entry) for key, entry in features.items() if not _is_vector(key, entry)},
        total_episodes=_count(path, info, "total_episodes"),
        total_frames=_count(path, info, "total_frames"),
        chunks_size=max(1, _count(path, info, "chunks_size", 1000)),
        data_path=read_pattern(path, info, "data_path", DATA_PATHS[major]) or DATA_PATHS[major],
        video_path=read_pattern(path, info, "video_path", VIDEO_PATHS[major]),
    )


def flat_names(names: Any) -> tuple[str, ...]:
    """The names of a vector's numbers, from any of the shapes they are written in.

    A flat list, ``{"motors": [...]}`` or ``{"axes": [...]}``, a list in a list, and ``{name: place}``.
    """
    if names is None:
        return ()
    if isinstance(names, Mapping):
        if all(isinstance(place, int) for place in names.values()):
            return tuple(sorted((str(name) for name in names), key=lambda name: names[name]))
        return tuple(name for inner in names.values() for name in flat_names(inner))
    if isinstance(names, list | tuple):
        return tuple(name for inner in names for name in flat_names(inner))
    return (str(names),)


def _no_name(names: Any) -> Any:
    """The first of the names that is no text, or None."""
    if isinstance(names, Mapping):
        if all(isinstance(place, int) for place in names.values()):
            return None
        names = list(names.values())
    if isinstance(names, list | tuple):
        return next((odd for odd in map(_no_name, names) if odd is not None), None)
    return None if names is None or isinstance(names, str) else names


def _is_camera(path: Path, key: str, entry: Mapping[str, Any]) -> bool:
    if entry.get("dtype") not in ("video", "image"):
        if key.startswith("observation.images."):
            raise ValueError(
                f"{path}: camera {key} has dtype {entry.get('dtype')!r}, expected 'video' or 'image'"
                "; repair the metadata"
            )
        return False
    info = entry.get("info") or entry.get("video_info") or {}
    if not isinstance(info, Mapping):
        raise ValueError(
            f"{path}: camera {key} has info {str(info)[:40]!r}, expected an object; repair the metadata"
        )
    return not (info.get("is_depth_map") or info.get("video.is_depth_map"))


def _is_vector(key: str, entry: Mapping[str, Any]) -> bool:
    shape = entry.get("shape")
    return (
        key not in BOOKKEEPING
        and not key.startswith("next.")
        and str(entry.get("dtype")).startswith(("float", "int", "uint", "bool"))
        and isinstance(shape, list | tuple)
        and len(shape) == 1
    )


def _camera(path: Path, key: str, entry: Mapping[str, Any]) -> Camera:
    shape = entry.get("shape")
    if (
        not isinstance(shape, list | tuple)
        or len(shape) != 3
        or not all(type(size) is int and 0 < size <= LARGEST for size in shape)
    ):
        raise ValueError(
            f"{path}: camera {key} has shape {shown(shape)}, expected three sizes such as [480, 640, 3]"
            "; repair the metadata"
        )
    names = [name.lower() for name in flat_names(entry.get("names"))]
    if len(names) == 3 and "height" in names and "width" in names:
        places = names.index("height"), names.index("width")
    elif shape[0] in COLOURS and shape[2] not in COLOURS:
        places = 1, 2
    else:
        places = 0, 1
    (channels,) = (size for place, size in enumerate(shape) if place not in places)
    return Camera(key, shape[places[0]], shape[places[1]], entry["dtype"] == "video", channels)


def _vector(path: Path, key: str, entry: Mapping[str, Any]) -> Vector:
    (width,) = entry["shape"]
    if type(width) is not int or not 0 < width <= LARGEST:
        raise ValueError(
            f"{path}: {key} has shape {shown(entry['shape'])}, expected one whole number from 1 to {LARGEST}"
            "; repair the metadata"
        )
    odd = _no_name(entry.get("names"))
    if odd is not None:
        raise ValueError(
            f"{path}: {key} has {str(odd)[:40]!r} among its names, expected text; repair the metadata"
        )
    names = flat_names(entry.get("names"))
    if len(names) != width or len(set(names)) != width or not all(name.strip() for name in names):
        # Some converters write the name of the whole vector, for any number of numbers.
        names = tuple(f"{key}.{index}" for index in range(width))
    return Vector(key, names)


def _said(entry: Mapping[str, Any]) -> str:
    return " and ".join(
        f"{name} {shown(entry[name])}" if name in entry else f"no {name}" for name in ("dtype", "shape")
    )


def _rate(path: Path, fps: Any) -> float:
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not (0 < fps <= FASTEST):
        raise ValueError(
            f"{path}: fps is {shown(fps)}, expected frames per second above 0, at most {FASTEST}"
            "; repair the metadata"
        )
    return float(fps)


def _count(path: Path, info: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = info.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(
            f"{path}: {name} is {shown(value)}, expected a whole number from 0; repair the metadata"
        )
    return value
