"""Which episode files of a run are missing or damaged, found without reading all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.arrays import array_sums, read_arrays

ARRAYS = ("frames", "actions")
"""Of an episode of a run."""


def unsound_episodes(
    folder: Path, rows: Iterable[Mapping[str, Any]], size: tuple[int, int] | None = None
) -> dict[str, str]:
    """Episode -> what is wrong with its file in ``folder``, for the rows of a run whose frames have ``size``.

    A file is read where its size is not the one in its row, where the row has none, or where it was changed after
    the newest row file; the others are as they were written.
    """
    # A link that leads nowhere is as good as no file.
    entries = (entry for entry in os.scandir(folder) if entry.is_file()) if folder.is_dir() else ()
    found = {entry.name: entry.stat() for entry in entries}
    written = max((path.stat().st_mtime for path in folder.parent.glob("rows-*.jsonl")), default=0.0)
    unsound = {}
    for row in rows:
        name = str(row["episode"])
        state = found.get(f"{name}.npz")
        if state is None:
            unsound[name] = "is missing"
        elif row.get("bytes") != state.st_size or state.st_mtime > written + 1:
            complaint = _complaint(folder / f"{name}.npz", row, size)
            if complaint:
                unsound[name] = complaint
    return unsound


def check_episode(arrays: Mapping[str, np.ndarray], where: str, steps: int | None = None) -> None:
    """Raise a ValueError unless ``frames`` are uint8 (t+1 h w 3) and ``actions`` finite float32 (t n) or (t K n)."""
    frames, actions = arrays["frames"], arrays["actions"]
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"{where}: frames are {frames.dtype} {frames.shape}, expected uint8 (t+1, h, w, 3)")
    count = len(frames) - 1 if steps is None else steps
    if (
        len(frames) != count + 1
        or len(actions) != count
        or actions.dtype.kind != "f"
        or actions.ndim not in (2, 3)
    ):
        said = "" if steps is None else f", as its row says {steps} steps"
        raise ValueError(
            f"{where}: there are {len(frames)} frames and actions {actions.dtype} {actions.shape}, expected "
            f"{count + 1} frames and float32 ({count}, n) actions{said}"
        )
    if not np.isfinite(actions).all():
        step = int(np.argwhere(~np.isfinite(actions))[0][0])
        raise ValueError(f"{where}: the action of step {step} holds NaN or infinity")


def check_unchanged(path: Path, checksum: str | None) -> None:
    """Raise a ValueError unless an episode's file holds the frames and actions it was written with; ``checksum`` is
    that of its row, None in runs of older versions."""
    if checksum is not None and array_sums(path, ARRAYS) != checksum:
        raise ValueError(
            f"{path} does not hold the frames and actions that were written (its row has another checksum); give the "
            "command of the rollout again to draw it anew"
        )


def _complaint(path: Path, row: Mapping[str, Any], size: tuple[int, int] | None) -> str:
    try:
        arrays = read_arrays(path, ARRAYS)
        check_episode(arrays, str(path), row.get("steps"))
        check_unchanged(path, row.get("checksum"))
        if size is not None and arrays["frames"].shape[1:3] != size:
            raise ValueError(
                f"{path} has frames of {arrays['frames'].shape[1:3]} pixels, the suite has {size}"
            )
    except (ValueError, OSError) as error:
        return str(error).removeprefix(str(path)).lstrip(":, ")
    return ""
