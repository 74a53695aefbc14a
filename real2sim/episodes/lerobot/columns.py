"""Columns of a LeRobot dataset's tables as arrays, whatever types a writer has chosen, checked value by value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from real2sim.arrays import beyond_float32


def unpacked(values: np.ndarray, where: str) -> np.ndarray:
    """Numbers of a column of lists of one, as which some writers store scalars."""
    if not all(isinstance(value, list | np.ndarray) and len(value) == 1 for value in values):
        raise ValueError(f"{where} holds {str(values[0])[:40]!r}, expected numbers; download the file again")
    return np.concatenate(values)


def whole_numbers(column: Any, where: str) -> np.ndarray:
    """A column of whole numbers (n,) int64; without gaps."""
    if column.null_count:
        raise ValueError(
            f"{where} has {column.null_count} empty places, expected whole numbers; mend the column"
        )
    values = np.asarray(column.to_numpy())
    if values.dtype == object and len(values):
        values = unpacked(values, where)
    if not (np.issubdtype(values.dtype, np.integer) or len(values) == 0):
        raise ValueError(f"{where} is {values.dtype}, expected whole numbers; mend the column")
    if len(values) and int(values.max()) > np.iinfo(np.int64).max:
        raise ValueError(
            f"{where} holds {values.max()}, expected whole numbers of at most 63 bits; mend the column"
        )
    return values.astype(np.int64)


def scalars(column: Any, where: str) -> np.ndarray:
    """A column of numbers (n,) float64; without gaps."""
    values = np.asarray(column.to_numpy())
    values = unpacked(values, where) if values.dtype == object and len(values) else values
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{where} holds {values.dtype}, expected numbers; mend the column")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{where} has places without a number; mend the column")
    return values


def truth_values(column: Any, where: str) -> list[bool | None]:
    """A column of truth values, also as 0 and 1 or in lists of one; None where there is none."""
    values = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in column.to_pylist()]
    for frame, value in enumerate(values):
        if not (value is None or (isinstance(value, bool | int | float) and value in (0, 1))):
            raise ValueError(
                f"{where.format(f', frame {frame}')} is {str(value)[:40]!r}, expected true or false; mend the column, "
                "or leave it out and tell what succeeded with --outcomes"
            )
    return [None if value is None else bool(value) for value in values]


def vectors(column: Any, names: Sequence[str], key: str, place: str) -> np.ndarray:
    """A column of vectors (n, width) float32, one name per number; finite and without gaps.

    ``key`` is the feature, ``place`` the file and episode, for errors.
    """
    import pyarrow
    import pyarrow.types

    array = column.combine_chunks()
    array = array.combine_chunks() if isinstance(array, pyarrow.ChunkedArray) else array
    if isinstance(array, pyarrow.ExtensionArray):
        # Tensors of a fixed shape, for one, lie in lists.
        array = array.storage
    width = len(names)
    if array.null_count:
        raise ValueError(
            f"{place}: {key} has {array.null_count} empty rows, expected numbers; mend the column"
        )
    kind = array.type
    if (
        pyarrow.types.is_fixed_size_list(kind)
        or pyarrow.types.is_list(kind)
        or pyarrow.types.is_large_list(kind)
    ):
        values = _floats(array.flatten(), key, place)
        lengths = np.asarray(array.value_lengths().to_numpy(zero_copy_only=False))
        wrong = np.flatnonzero(lengths != width)
        if len(wrong):
            raise ValueError(
                f"{place}, frame {wrong[0]}: {key} has {lengths[wrong[0]]} numbers, the dataset's features say {width}"
                "; mend the column"
            )
    else:
        values = _floats(array, key, place)
        if width != 1:
            raise ValueError(
                f"{place}: {key} holds one number a frame, the features say {width}; mend the column"
            )
    values = values.reshape(-1, width)
    odd = beyond_float32(values)
    if odd is not None:
        frame, number = odd
        raise ValueError(
            f"{place}, frame {frame}: {key}[{number}] ({names[number]}) is {values[frame, number]:g}, expected "
            "a number that float32 holds; leave the episode out with --episodes or mend the dataset"
        )
    return values.astype(np.float32)


def _floats(array: Any, key: str, place: str) -> np.ndarray:
    import pyarrow.types

    kind = array.type
    if not any(
        test(kind) for test in (pyarrow.types.is_floating, pyarrow.types.is_integer, pyarrow.types.is_boolean)
    ):
        raise ValueError(f"{place}: {key} holds {kind}, expected numbers; mend the column")
    return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)
