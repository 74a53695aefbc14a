"""Which files a training learns from, and a fingerprint of each."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from real2sim.arrays import archive_sum
from real2sim.episodes.keep_out import kept_out
from real2sim.episodes.npz import EXPERT_LABELS_FILE, dataset_files
from real2sim.episodes.rlds.features import FEATURES_FILE
from real2sim.episodes.run_folder import EPISODES, RUN_FILE
from real2sim.files import reading
from real2sim.robot import ROBOT_FILE
from real2sim.wording import whole_number

ENDS = 1 << 20
"""Bytes at both ends of a file, other than an npz, that its fingerprint looks at beside its size."""


def learned_files(folders: Sequence[Path]) -> list[Path]:
    """The episodes of dataset and run folders, without starts of suites, and the files that describe them."""
    return [path for folder in folders for path in _folder_files(Path(folder))]


def _folder_files(folder: Path) -> list[Path]:
    if (folder / RUN_FILE).is_file():
        return sorted((folder / EPISODES).glob("*.npz"))
    if (folder / FEATURES_FILE).is_file():
        return sorted(path for path in folder.iterdir() if path.is_file())
    out = kept_out(folder)
    described = [folder / ROBOT_FILE, folder / EXPERT_LABELS_FILE]
    return [
        *(path for path in dataset_files(folder) if path.name not in out),
        *(path for path in described if path.is_file()),
    ]


def file_sums(files: Sequence[Path]) -> dict[str, str]:
    """A fingerprint of each file, called by the number of its folder and its name: folders may have moved."""
    numbers: dict[Path, int] = {}
    sums = {}
    for path in files:
        number = numbers.setdefault(path.parent, len(numbers))
        sums[f"{number}/{path.name}"] = archive_sum(path) if path.suffix == ".npz" else _ends_sum(path)
    return sums


def difference(found: Mapping[str, str], then: Mapping[str, str], files: Sequence[Path]) -> str | None:
    """How files differ from what they were, in words that name the first; None if they do not."""
    changed = sorted(name for name in found.keys() | then.keys() if found.get(name) != then.get(name))
    if not changed:
        return None
    folders = list(dict.fromkeys(path.parent for path in files))
    number, _, name = changed[0].partition("/")
    index = whole_number(number)
    place = folders[index] / name if index is not None and index < len(folders) else Path(name)
    word = "is new" if changed[0] not in then else "is gone" if changed[0] not in found else "is another one"
    return f"{place} {word}" + (f", and {len(changed) - 1} more files differ" if len(changed) > 1 else "")


def _ends_sum(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        size = path.stat().st_size
        first = file.read(ENDS)
        file.seek(max(len(first), size - ENDS))
        return f"{size:x}-{zlib.crc32(file.read(), zlib.crc32(first)):08x}"
