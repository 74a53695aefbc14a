"""The small files of a LeRobot dataset, read with errors that name the file and what it should hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from real2sim.files import parse_json, read_text
from real2sim.special_files import refuse_special

LFS_BEGINNING = b"version https://git-lfs"
"""How the text begins that Git leaves in the place of a large file that was not fetched."""


def check_present(path: Path) -> None:
    """Raises FileNotFoundError for a missing file, ValueError for one that Git LFS has not fetched yet."""
    refuse_special(path, "a file of the dataset")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a file of the dataset there, download it again")
    if not path.is_file():
        found = "is a link that leads to no file" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(f"{path} {found}, and the dataset's metadata refers to it; download it again")
    with path.open("rb") as file:
        beginning = file.read(len(LFS_BEGINNING))
    if beginning == LFS_BEGINNING:
        raise ValueError(
            f"{path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull` in the dataset folder"
        )
    if not beginning:
        raise ValueError(f"{path} is empty; download it again")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds; NaN may stand in it, as in what other tools add."""
    check_present(path)
    value = parse_json(read_text(path), str(path), finite=False)
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {shown(value)}, expected an object; download it again")
    return value


def read_json_lines(path: Path, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line; each must have ``fields``."""
    check_present(path)
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        value = parse_json(line, where, finite=False)
        if not isinstance(value, dict):
            raise ValueError(
                f"{where} holds {shown(value)}, expected an object with {', '.join(fields)}"
                "; was the file edited?"
            )
        missing = [name for name in fields if name not in value]
        if missing:
            raise ValueError(f"{where} has no field {missing[0]!r}; was the file edited?")
        yield value


def shown(value: Any) -> str:
    """A value as JSON writes it, cut to a readable length."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def open_parquet(path: Path) -> Any:
    """A ``pyarrow.parquet.ParquetFile``."""
    import pyarrow.parquet

    check_present(path)
    with reading_parquet(path):
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} has two columns called {twice!r}; leave one of them out")
    return file


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """What is said where the block finds a parquet file damaged, whatever part of it."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as parquet ({error}); download it again") from error
