"""What all conversions into dataset folders share: a record of what was asked, and episodes written frame by frame."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from isal import isal_zlib

from real2sim.episodes.failed_start import undone_where_it_fails
from real2sim.files import atomic_write, read_json, write_text
from real2sim.robot import ROBOT_FILE

LOG = logging.getLogger(__name__)

EPISODE_FILES = "*.npz"
RECORD = "conversion.json"
"""Says what a dataset folder was converted from, and how."""
COMPRESSION_LEVEL = 2
"""Of ISA-L's deflate, as small as zlib's level 1; camera frames hardly get smaller at higher levels."""


def episode_path(folder: Path, number: int) -> Path:
    """Where an episode of a dataset folder lies."""
    return folder / f"{number:06d}.npz"


def open_record(folder: Path, asked: Mapping[str, Any]) -> None:
    """Make a dataset folder for a conversion, or make sure that what lies there was converted in the same way.

    Raises ValueError naming the first difference, or if the folder holds episodes of unknown origin.
    """
    asked = json.loads(json.dumps(asked))
    path = folder / RECORD
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a dataset folder or a path that does not exist yet")
    begun = folder.is_dir() and any(folder.glob(EPISODE_FILES))
    if not path.is_file() or not begun:
        # A folder belongs to its first episode: what a conversion without one asked for is replaced.
        if begun:
            raise ValueError(
                f"{folder} holds episodes and no {RECORD}, so they are not from this conversion; choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asked, indent=2) + "\n")
        return
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} should hold an object; was the file edited?")
    for name in dict.fromkeys([*asked, *found]):
        if found.get(name) != asked.get(name):
            raise ValueError(
                f"{folder} was converted with {name} = {json.dumps(found.get(name))}, now "
                f"{json.dumps(asked.get(name))} is asked for; choose another folder or the same options"
            )


def missing_episodes(folder: Path, numbers: Iterable[int]) -> list[int]:
    """The episodes that are still to be converted, also those whose file was cut off, which is said.

    Of a file only the directory at its end is read; what is in it has a checksum, which every reader looks at.
    """
    missing = []
    for number in numbers:
        path = episode_path(folder, number)
        if not path.is_file():
            missing.append(number)
        elif not _is_whole(path):
            LOG.warning("%s is no whole npz file; the episode is converted again", path)
            missing.append(number)
    return missing


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return {"image.npy", "action.npy"} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


class EpisodeFile:
    """An npz file that is written array by array; images may come frame by frame."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)

    def array(self, name: str, values: np.ndarray) -> None:
        """Write a whole array."""
        with self._member(name) as file:
            np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)

    def frames(self, name: str, shape: tuple[int, ...], frames: Iterator[np.ndarray]) -> None:
        """Write ``shape[0]`` frames uint8 of ``shape[1:]`` without holding more than one of them."""
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        count = 0
        with self._member(name) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for frame in frames:
                if frame.shape != shape[1:] or frame.dtype != np.uint8:
                    raise ValueError(
                        f"frame {count} is {frame.dtype} {frame.shape}, expected uint8 {shape[1:]}"
                    )
                file.write(np.ascontiguousarray(frame).tobytes())
                count += 1
        if count != shape[0]:
            raise ValueError(f"there are {count} frames, expected {shape[0]}")

    def _member(self, name: str) -> IO[bytes]:
        """An array's place in the archive, compressed by ISA-L.

        Python's zipfile offers no public way to another compressor than zlib's, which takes a fifth to two thirds of a
        conversion's time.  Where a later Python ignores the attribute, zlib writes the same array, slower.
        """
        file: Any = self._zip.open(f"{name}.npy", "w", force_zip64=True)
        file._compressor = isal_zlib.compressobj(COMPRESSION_LEVEL, isal_zlib.DEFLATED, -15)
        return cast("IO[bytes]", file)

    def close(self) -> None:
        """Write the directory of the archive."""
        self._zip.close()


def undone_conversion(folder: Path) -> AbstractContextManager[None]:
    """A conversion that fails before its first episode leaves ``folder`` as it found it."""
    return undone_where_it_fails(folder, (RECORD, ROBOT_FILE), (EPISODE_FILES,))


@contextmanager
def episode_file(path: Path) -> Iterator[EpisodeFile]:
    """An episode that appears under its name when the block ends; after an error nothing has changed."""
    with atomic_write(path) as file:
        episode = EpisodeFile(file)
        try:
            yield episode
        finally:
            # Also after an error, where the file is thrown away: an open archive would complain later.
            episode.close()
