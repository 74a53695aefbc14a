"""The examples of a dataset's TFRecord files, by number and without reading those that are not asked for.

A record is its length (8 bytes), a checksum of the length (4), the data, and a checksum of the data (4).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HEADER, FOOTER = 12, 4
OPEN_FILES = 64


def masked_checksum(data: bytes | memoryview) -> int:
    """TFRecord's checksum: CRC-32C, rotated by 15 bits and increased by a constant."""
    import google_crc32c

    crc = google_crc32c.value(bytes(data))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


class Records:
    """The records of several files, numbered through.

    Only the positions are read at first.  Raises ValueError, naming the file and the record, for a file that is cut
    off or damaged.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._positions = [_positions(path) for path in files]
        self._first = np.concatenate([[0], np.cumsum([len(found) for found in self._positions])])
        self._maps: dict[int, mmap.mmap] = {}

    def __len__(self) -> int:
        return int(self._first[-1])

    def lengths(self) -> list[int]:
        """Records per file."""
        return [len(found) for found in self._positions]

    def where(self, number: int) -> str:
        """File and place of a record, for errors."""
        file = self._file_of(number)
        return f"{self._files[file]}, record {number - self._first[file]}"

    def read(self, number: int, verify: bool = False) -> memoryview:
        """The data of a record, mapped from the file; with ``verify`` its checksum is compared."""
        file = self._file_of(number)
        start, length = self._positions[file][number - self._first[file]]
        data = memoryview(self._map(file))[start : start + length]
        if verify:
            (expected,) = struct.unpack_from("<I", self._map(file), start + length)
            if masked_checksum(data) != expected:
                raise ValueError(f"{self.where(number)} is damaged (wrong checksum); download the file again")
        return data

    def _file_of(self, number: int) -> int:
        return int(np.searchsorted(self._first, number, side="right")) - 1

    def _map(self, file: int) -> mmap.mmap:
        if file not in self._maps:
            if len(self._maps) >= OPEN_FILES:
                # Left to the collector: views of it may still be in use.
                self._maps.pop(next(iter(self._maps)))
            with self._files[file].open("rb") as handle:
                self._maps[file] = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[file]


def _positions(path: Path) -> np.ndarray:
    """Start and length (n, 2) of the data of every record of a file."""
    size = path.stat().st_size
    found: list[tuple[int, int]] = []
    position = 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(HEADER)
            if len(header) < HEADER:
                raise ValueError(f"{path} is cut off in record {len(found)}; download the file again")
            length, checksum = struct.unpack("<QI", header)
            if masked_checksum(header[:8]) != checksum:
                raise ValueError(
                    f"{path}, record {len(found)} does not begin as a TFRecord does (wrong checksum of its length); "
                    "download the file again"
                )
            if position + HEADER + length + FOOTER > size:
                raise ValueError(f"{path} is cut off in record {len(found)}; download the file again")
            found.append((position + HEADER, length))
            position += HEADER + length + FOOTER
    return np.array(found, np.int64).reshape(-1, 2)
