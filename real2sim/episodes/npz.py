"""Dataset folders: one npz per episode, in the layout of Vid2World's converter (``image``, ``action``) and more."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from real2sim.actions import WIDTH


def dataset_files(folder: Path) -> list[Path]:
    """The episodes of a dataset folder, by name."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; expected a dataset folder with one npz file per episode"
        )
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no npz file; expected one per episode (see docs/data.md)")
    return files


def read_npz(
    path: Path, names: Sequence[str] = ("image", "action"), optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of one episode: image (t h w 3) uint8, action (t 13) float32 and what else is asked for.

    ``optional`` ones are left out where the file has none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise ValueError(f"{path} has no array {missing[0]!r}; it holds {', '.join(file.files)}")
            arrays = {name: file[name] for name in [*names, *optional] if name in file}
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as npz ({error}); the file may be truncated, record it again"
        ) from error
    if "image" in arrays and (
        arrays["image"].ndim != 4 or arrays["image"].shape[-1] != 3 or arrays["image"].dtype != np.uint8
    ):
        raise ValueError(
            f"{path}: image is {arrays['image'].dtype} {arrays['image'].shape}, expected uint8 (t, h, w, 3)"
        )
    if "action" in arrays and arrays["action"].shape[1:] != (WIDTH,):
        raise ValueError(f"{path}: action has shape {arrays['action'].shape}, expected (t, {WIDTH})")
    return arrays


def read_dataset(
    folder: Path, names: Sequence[str] = ("image", "action"), limit: int | None = None
) -> dict[str, np.ndarray]:
    """A whole dataset of equally long episodes, stacked: name -> (episodes, ...)."""
    episodes = [read_npz(path, names) for path in dataset_files(folder)[:limit]]
    lengths = {len(episode[names[0]]) for episode in episodes if episode[names[0]].ndim}
    if len(lengths) > 1:
        raise ValueError(
            f"{folder}: episodes have {min(lengths)} to {max(lengths)} steps; equally long ones are needed here"
        )
    return {name: np.stack([episode[name] for episode in episodes]) for name in names}
