"""Named arrays in one npz file, written at once and read with an error that names the file and the array."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from real2sim.files import atomic_write, reading

MOST_COMPRESSION = 1040
"""Deflate makes a file at most about this many times smaller (zlib's own bound is 1032)."""
LARGEST_ARRAY = 64 << 30
"""Bytes of an array that is still believed."""
_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, MemoryError, NotImplementedError,
    RuntimeError, SyntaxError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What zipfile, zlib and NumPy raise on damaged files."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace a compressed npz: a reader sees the old file or the whole new one, never a part."""
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_arrays(
    path: Path, names: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an npz file: all of them, or those of ``names`` and what the file has of ``optional``.

    Checksums are compared, pickled objects and sizes that the file cannot hold are refused before any memory is
    asked for.  ValueError names the file and the array.
    """
    path = Path(path)
    with reading(path, "an npz file"):
        if path.is_dir():
            raise IsADirectoryError
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty; expected an npz file, make or copy it again")
        stream = path.open("rb")
    with stream:
        try:
            archive = zipfile.ZipFile(stream)
        except _DAMAGE as error:
            raise ValueError(
                f"{path} cannot be read as npz ({error}); the file may be truncated, make or copy it again"
            ) from error
        with archive:
            held = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if len(held) < len(archive.infolist()):
                raise ValueError(f"{path} holds two arrays of one name; make or copy it again")
            missing = [name for name in names or () if name not in held]
            if missing:
                raise ValueError(f"{path} has no array {missing[0]!r}; it holds {', '.join(held) or 'none'}")
            wanted = held if names is None else [*names, *(name for name in optional if name in held)]
            return {name: _read_member(archive, held[name], path, name) for name in wanted}


def array_sums(path: Path, names: Sequence[str]) -> str:
    """The CRC-32 of some arrays of an npz file, as it stands in the file: the arrays themselves are not read."""
    with reading(path, "an npz file"), path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return "".join(f"{archive.getinfo(f'{name}.npy').CRC:08x}" for name in names)
        except (*_DAMAGE, KeyError) as error:
            raise ValueError(f"{path} cannot be read as npz ({error}); make or copy it again") from error


def archive_sum(path: Path) -> str:
    """A CRC-32 of the names and checksums of all arrays of an npz file; the arrays themselves are not read."""
    with reading(path, "an npz file"), path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                held = sorted((member.filename, member.CRC) for member in archive.infolist())
        except _DAMAGE as error:
            raise ValueError(f"{path} cannot be read as npz ({error}); make or copy it again") from error
    return f"{zlib.crc32(repr(held).encode()):08x}"


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, name: str) -> np.ndarray:
    try:
        _check_header(archive, member)
        with archive.open(member) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
            # The checksum is compared when the end is reached.
            if file.read(1):
                raise ValueError("there is more than the array")
            found: np.ndarray = array
            return found
    except _DAMAGE as error:
        said = str(error).strip("'\"") or type(error).__name__
        raise ValueError(
            f"{path}: array {name!r} cannot be read ({said}); the file is damaged, make or copy it again"
        ) from error


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise a ValueError where an array is not what its file says, before memory is asked for."""
    if member.file_size > MOST_COMPRESSION * member.compress_size + 1024 or member.file_size > LARGEST_ARRAY:
        raise ValueError(
            f"it claims {member.file_size} bytes, which {member.compress_size} compressed bytes cannot hold"
        )
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            # Version 3 names fields of structured arrays, which no file of this project has.
            raise ValueError(f"it is of npy version {version[0]}.{version[1]}, expected 1.0 or 2.0")
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError("it holds pickled objects, which are not read")
        if any(side < 0 for side in shape) or len(shape) > 32:
            raise ValueError(f"its shape is {shape}")
        claimed = math.prod(shape) * dtype.itemsize
        if claimed != member.file_size - file.tell():
            raise ValueError(
                f"its shape {shape} claims {claimed} bytes, there are {member.file_size - file.tell()}"
            )


def beyond_float32(values: np.ndarray) -> tuple[int, int] | None:
    """Row and column of the first of ``values`` (n m) that float32 does not hold as a finite number, or None."""
    odd = np.argwhere(~(np.abs(values) <= np.finfo(np.float32).max))
    return (int(odd[0, 0]), int(odd[0, 1])) if len(odd) else None
