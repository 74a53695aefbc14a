"""Named arrays in one npz file, written at once and read with an error that names the file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from real2sim.files import atomic_write


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace a compressed npz: a reader sees the old file or the whole new one, never a part."""
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file; pickled objects are refused."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected an npz file there")
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as npz ({error}); the file may be truncated, make or copy it again"
        ) from error
