"""Where the files of a LeRobot dataset lie: patterns such as ``data/chunk-{chunk_index:03d}/...`` of ``info.json``."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from real2sim.episodes.lerobot.files import shown

DATA_PATHS = {
    2: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    3: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}
VIDEO_PATHS = {
    2: "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    3: "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
"""Where files lie unless ``info.json`` says otherwise, by major version."""


def read_pattern(path: Path, info: Mapping[str, Any], name: str, default: str) -> str | None:
    """A pattern of ``info.json``; ValueError for what cannot be one."""
    pattern = info.get(name, default)
    if not (pattern is None or (isinstance(pattern, str) and pattern)):
        raise ValueError(
            f"{path}: {name} is {shown(pattern)}, expected a path such as {default!r}; repair the metadata"
        )
    if pattern is not None and not _is_plain(pattern):
        raise ValueError(
            f"{path}: {name} is {shown(pattern)}, expected a path with plain places such as {default!r}; repair the "
            "metadata"
        )
    return pattern


def _is_plain(pattern: str) -> bool:
    """Whether a pattern's places are names, with a number of digits at most."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError:
        return False
    return all(
        name is None or (name.isidentifier() and not conversion and re.fullmatch(r"(0?\d)?d?", digits or ""))
        for _, name, digits, conversion in parts
    )


def filled_pattern(where: str, pattern: str, values: Mapping[str, Any]) -> PurePosixPath:
    """The path that a pattern gives, inside the dataset."""
    try:
        path = PurePosixPath(pattern.format(**values))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{where} is {pattern!r}, expected a pattern of {', '.join(values)} ({type(error).__name__}: {error})"
            "; repair the metadata"
        ) from error
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{where} gives {path}, which leaves the dataset; repair the metadata")
    return path
