"""What stands where a file is expected and is none: pipes, sockets and devices, which may never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special_kind(path: Path | str) -> str | None:
    """What a path leads to, as words, if it is neither a file nor a folder; None where nothing is there."""
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):
        return None


def refuse_special(path: Path | str, expected: str) -> None:
    """Raise a ValueError where ``path`` leads to a pipe, socket or device: whoever opened one could wait for ever."""
    if kind := special_kind(path):
        raise ValueError(f"{path} is {kind}; expected {expected}, write it to a file first")
