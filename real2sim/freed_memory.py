"""Freed memory stays with the process instead of going back to the system after each pass of a network."""

from __future__ import annotations

import ctypes
import os

SETTINGS = {-1: 2**31 - 1, -2: 64 << 20, -3: 1 << 25}
"""glibc's ``M_TRIM_THRESHOLD``, ``M_TOP_PAD`` and ``M_MMAP_THRESHOLD`` (mallopt(3)), bytes."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, and say whether it does.

    By default it returns large blocks at once.  The next pass asks for them again, and the system clears them page by
    page, which takes a tenth of a frame's time on a processor.  A rollout's peak memory rises by a tenth.  Settings in
    the environment (``MALLOC_TRIM_THRESHOLD_`` and the like) have the last word; other C libraries are left alone.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or os.name != "posix":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all([library.mallopt(setting, value) == 1 for setting, value in SETTINGS.items()])
