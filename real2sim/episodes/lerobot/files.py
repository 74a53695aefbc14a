"""The small files of a LeRobot dataset, read with errors that name the file and what it should hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.files import read_text

LFS_BEGINNING = b"version https://git-lfs"
"""How the text begins that Git leaves in the place of a large file that was not fetched."""


def check_present(path: Path) -> None:
    """Raises FileNotFoundError for a missing file, ValueError for one that Git LFS has not fetched yet."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist, and the dataset's metadata refers to it; download it again"
        )
    with path.open("rb") as file:
        beginning = file.read(len(LFS_BEGINNING))
    if beginning == LFS_BEGINNING:
        raise ValueError(
            f"{path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull` in the dataset folder"
        )
    if not beginning:
        raise ValueError(f"{path} is empty; download it again")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds."""
    check_present(path)
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, expected an object")
    return value


def read_json_lines(path: Path, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line; each must have ``fields``."""
    check_present(path)
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number} is not valid JSON ({error}); download it again"
            ) from error
        missing = [name for name in fields if not isinstance(value, dict) or name not in value]
        if missing:
            raise ValueError(f"{path}, line {number} has no field {missing[0]!r}")
        yield value


def open_parquet(path: Path) -> Any:
    """A ``pyarrow.parquet.ParquetFile``."""
    import pyarrow
    import pyarrow.parquet

    check_present(path)
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as parquet ({error}); download it again") from error


def unpacked(values: np.ndarray, where: str) -> np.ndarray:
    """Numbers of a column of lists of one, as which some writers store scalars."""
    if not all(isinstance(value, list | np.ndarray) and len(value) == 1 for value in values):
        raise ValueError(f"{where} holds {str(values[0])[:40]!r}, expected numbers; download the file again")
    return np.concatenate(values)


def whole_numbers(path: Path, column: Any, name: str) -> np.ndarray:
    """A column of whole numbers (n,) int64; without gaps."""
    if column.null_count:
        raise ValueError(
            f"{path}: column {name} has {column.null_count} empty places, expected whole numbers"
        )
    values = np.asarray(column.to_numpy())
    if values.dtype == object and len(values):
        values = unpacked(values, f"{path}: column {name}")
    if not (np.issubdtype(values.dtype, np.integer) or len(values) == 0):
        raise ValueError(f"{path}: column {name} is {values.dtype}, expected whole numbers")
    return values.astype(np.int64)
