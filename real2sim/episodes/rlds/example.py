"""One ``tf.train.Example``: named lists of bytes, floats or whole numbers, found without reading what is not asked for.

The layout is protocol buffers': an Example holds Features (field 1), which hold a map (field 1) from a name (field 1)
to a Feature (field 2), which holds a BytesList (1), FloatList (2) or Int64List (3), each with its values in field 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


class Example:
    """The features of one serialised example; ``where`` names it in errors."""

    def __init__(self, data: memoryview, where: str) -> None:
        self._where = where
        self._features: dict[str, memoryview] = {}
        try:
            for number, features in _fields(data):
                for inner, entry in _fields(features) if number == 1 else ():
                    if inner == 1:
                        parts = dict(_fields(entry))
                        self._features[bytes(parts[1]).decode("utf-8")] = parts.get(2, memoryview(b""))
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where} has a feature whose name is no text; its bytes have changed, download the file again"
            ) from error
        except (IndexError, KeyError, ValueError, TypeError) as error:
            raise ValueError(
                f"{where} is not a tf.train.Example ({error}); download the file again"
            ) from error

    def __contains__(self, name: str) -> bool:
        return name in self._features

    @property
    def where(self) -> str:
        """The place of the example, for errors."""
        return self._where

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._features)

    def texts(self, name: str) -> list[bytes]:
        """The values of a list of bytes."""
        return [bytes(value) for value in self.blobs(name)]

    def blobs(self, name: str) -> list[memoryview]:
        """The values of a list of bytes, not copied."""
        return [value for number, value in self._values(name, 1) if number == 1]

    def floats(self, name: str) -> np.ndarray:
        """The values of a list of floats, float32 (n,)."""
        parts = [np.frombuffer(value, "<f4") for number, value in self._values(name, 2) if number == 1]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def integers(self, name: str) -> np.ndarray:
        """The values of a list of whole numbers, int64 (n,)."""
        parts = [_varints(value) for number, value in self._values(name, 3) if number == 1]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _values(self, name: str, kind: int) -> list[tuple[int, memoryview]]:
        if name not in self._features:
            raise ValueError(
                f"{self._where} has no feature {name!r}, which the dataset's features.json lists; leave the episode "
                "out or choose other features"
            )
        try:
            lists = list(_fields(self._features[name]))
            found = [item for number, values in lists if number == kind for item in _fields(values)]
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{self._where}: feature {name!r} cannot be read ({error})"
                "; leave the episode out or download the file again"
            ) from error
        if lists and not any(number == kind for number, _ in lists):
            kinds = {1: "bytes", 2: "floats", 3: "whole numbers"}
            raise ValueError(
                f"{self._where}: feature {name!r} is a list of {kinds.get(lists[0][0], 'something else')}, "
                f"features.json says {kinds[kind]}"
                "; leave the episode out or download the file again"
            )
        return found


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Field numbers of a message and their content; numbers come as the bytes they are written in."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == BYTES:
            length, position = _varint(data, position)
        elif wire == VARINT:
            length = _varint(data, position)[1] - position
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > end:
            raise ValueError(f"a field of {length} bytes where {end - position} are left")
        yield number, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _varints(data: memoryview) -> np.ndarray:
    """All numbers (n,) int64 of a packed list."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if len(octets) and (not len(ends) or ends[-1] != len(octets) - 1):
        raise ValueError("a list of numbers that is cut off")
    if len(ends) == len(octets):
        return octets.astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 9:
        raise ValueError("a number of more than ten bytes")
    parts = (octets & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts).astype(np.int64)
