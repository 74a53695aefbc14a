"""Tables as the report is given them, frames or CSV files; errors call a table by its file, where it has one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from real2sim.spreadsheets import SAME, read_measurements
from real2sim.wording import whole_number

FILE = "file"
"""Key of a table's ``attrs`` under which the file stands that it was read from."""


def read_frame(table: pd.DataFrame | Path | str, what: str) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        check_columns(table, what)
        return plain_rows(table)
    if not isinstance(table, str | Path):
        raise ValueError(
            f"the {what} are a {type(table).__name__}, expected a table (pandas.DataFrame) or a CSV"
        )
    path = Path(table)
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}; give the path of a CSV file")
    return read_file(path, what)


def plain_rows(table: pd.DataFrame) -> pd.DataFrame:
    """A copy whose rows are numbered; names that stand in its index, as grouping puts them there, become
    columns, and categories text."""
    names = [name for name in table.index.names if name is not None]
    inside = [name for name in names if name in table.columns]
    frame = table.reset_index(level=inside, drop=True) if inside else table
    frame = frame.reset_index() if len(inside) < len(names) else frame
    frame = frame.reset_index(drop=True)
    # A category takes no value beside its own, such as the name of what is missing.
    kinds = {column: object for column, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)}
    return frame.astype(kinds)


def read_file(path: Path, what: str) -> pd.DataFrame:
    """The table in a CSV file, which later errors name."""
    frame = pd.DataFrame(read_measurements(path, what))
    frame.attrs[FILE] = str(path)
    return frame


def named(frame: pd.DataFrame, what: str) -> str:
    """What an error calls a table: by its file, where it came from one."""
    return f"{frame.attrs[FILE]} ({what})" if FILE in frame.attrs else what


NAMES = ("policy", "task", "start", "episode", "family", "set")
"""Columns that name something."""


NO_NUMBERS = ("complex", "boolean", "datetime", "datetime64", "date", "timedelta", "timedelta64", "period")
"""Kinds of values, as pandas calls them, that stand for no number."""


def check_columns(frame: pd.DataFrame, what: str) -> None:
    """ValueError for columns that are there twice."""
    names = list(frame.columns)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"the table of {what} has two columns {twice[0]!r}; remove or rename one of them")
    for one, other in SAME:
        if one in names and other in names:
            raise ValueError(
                f"the table of {what} has both a column {one} and a column {other}; remove or rename one of them"
            )


def _check_names(frame: pd.DataFrame, column: str, what: str) -> None:
    kind = pd.api.types.infer_dtype(frame[column], skipna=True)
    if kind in ("string", "integer", "floating", "empty", "categorical"):
        return
    # One cell may hold anything, also what has no text.
    for row, value in enumerate(frame[column]):
        missing = value is None or value is pd.NA or value is pd.NaT
        plain = isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(
            value, bool
        )
        if not (missing or plain):
            raise ValueError(
                f"{what}: {column} of row {row + 1} is of type {type(value).__name__}, expected a name as "
                "text"
            )


def read_seeds(column: pd.Series, what: str) -> pd.Series:
    """A column of seeds as whole numbers; what is missing stays missing."""
    if column.dtype.kind in "iu" and not (column < 0).any():
        return column
    seeds = [_seed(value, row, what) for row, value in enumerate(column, 1)]
    found = pd.Series(seeds, column.index, object, column.name)
    # Among missing ones pandas would make them floats, which hold no large seed.
    return found if None in seeds else found.infer_objects()


def _seed(value: Any, row: int, what: str) -> int | None:
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value)):
        return None
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    whole = whole or (isinstance(value, float | np.floating) and float(value).is_integer())
    if not whole and not (isinstance(value, str) and whole_number(value.strip()) is not None):
        raise ValueError(
            f"{what}: seed of row {row} is {' '.join(repr(value).split())[:60]}, expected a whole number"
        )
    if int(value) < 0:
        raise ValueError(f"{what}: seed of row {row} is {int(value)}, expected a whole number of at least 0")
    return int(value)


def read_numbers(frame: pd.DataFrame, column: str, what: str) -> pd.Series:
    """A column of numbers; ValueError names the row of one that is something else."""
    what = named(frame, what)
    numbers = pd.Series(np.nan, index=frame.index)
    # Times and truth values become numbers too, and mean something else.
    if pd.api.types.infer_dtype(frame[column], skipna=True) not in NO_NUMBERS:
        with contextlib.suppress(TypeError):
            # A TypeError is raised for lists and the like.
            numbers = pd.to_numeric(frame[column], errors="coerce").astype(float)
    wrong = frame[(numbers.isna() & frame[column].notna()) | numbers.isin([np.inf, -np.inf])]
    if len(wrong):
        raise ValueError(
            f"{what}: {column} of {wrong['policy'].iloc[0]} on {wrong['task'].iloc[0]} is "
            f"{str(wrong[column].iloc[0])[:60]!r}, expected a number"
        )
    return numbers


def require(frame: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    """ValueError unless a table has these columns, and text or numbers for names; it is called by its file, where it
    came from one."""
    what = frame.attrs.get(FILE, what)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{what} has no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns)) or 'none'}. "
            f"Expected: {', '.join(columns)}"
        )
    for column in NAMES:
        if column in frame.columns:
            _check_names(frame, column, what)
