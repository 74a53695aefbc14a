"""``SHA256SUMS`` beside a model's weights: a copy in which a byte has changed is noticed.

The file is the one that ``sha256sum`` writes, so ``sha256sum -c SHA256SUMS`` checks a folder by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from real2sim.files import read_text, reading, write_text

if TYPE_CHECKING:
    from hashlib import _Hash

SUMS_FILE = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\]+)")
_BLOCK = 1 << 20


def write_checksums(folder: Path) -> None:
    """Note the sums of all safetensors files of a folder."""
    files = sorted(folder.glob("*.safetensors"))
    write_text(folder / SUMS_FILE, "".join(f"{_sum(path)}  {path.name}\n" for path in files))


def check_checksum(path: Path, also: Sequence[_Hash] = ()) -> None:
    """Read a file and raise ValueError if its folder lists another sum for it; files that no list names may be
    anything.  The bytes go through the digests ``also`` too."""
    noted = _read_sums(path.parent).get(path.name)
    if noted is None and not also:
        return
    found = _sum(path, also)
    if noted and noted != found:
        raise ValueError(
            f"{path} has the SHA-256 sum {found[:12]}..., expected {noted[:12]}... as "
            f"{path.parent / SUMS_FILE} says; copy the model's folder again, or, where the weights were replaced on "
            f"purpose, remove {SUMS_FILE}"
        )


def _read_sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS_FILE
    if not path.is_file():
        return {}
    sums = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"{path}, line {number}: found {line[:40]!r}, expected a SHA-256 sum, two spaces and the name of a "
                "file, as sha256sum writes them; copy the model's folder again"
            )
        sums[match[2]] = match[1]
    return sums


def _sum(path: Path, also: Sequence[_Hash] = ()) -> str:
    digests = (hashlib.sha256(), *also)
    with reading(path), path.open("rb") as file:
        while block := file.read(_BLOCK):
            for digest in digests:
                digest.update(block)
    return digests[0].hexdigest()
