"""Threads that a library makes realtime are made ordinary again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Give all threads of this process that become realtime meanwhile the ordinary scheduling back.

    The encoder SVT-AV1 makes its threads and the one that opens it realtime (SCHED_FIFO, 99) where that is allowed: for
    root, so in most containers.  Nothing else on the core would run any more, until the process ends.
    """
    if not hasattr(os, "sched_getscheduler") or os.sched_getscheduler(0) in _realtime():
        yield
        return
    try:
        yield
    finally:
        for thread in os.listdir("/proc/self/task"):
            # A thread may have ended since.
            with contextlib.suppress(OSError):
                if os.sched_getscheduler(int(thread)) in _realtime():
                    os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def _realtime() -> tuple[int, int]:
    return os.SCHED_FIFO, os.SCHED_RR
