"""A video encoder leaves the scheduling of the process as it was."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.lerobot.recording import CODECS
from real2sim.episodes.lerobot.writer import VideoFile
from real2sim.thread_priority import ordinary_priority

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux only")


def realtime() -> set[str]:
    """The threads of this process that are not scheduled as usual."""
    found = set()
    for thread in os.listdir("/proc/self/task"):
        # A thread may end between the two calls.
        with contextlib.suppress(ProcessLookupError):
            if os.sched_getscheduler(int(thread)) != os.SCHED_OTHER:
                found.add(thread)
    return found


@pytest.mark.parametrize("codec", list(CODECS))
def test_encoding_makes_no_thread_realtime(codec: str, tmp_path: Path) -> None:
    # Those of another test, which encodes by itself, may just be ending.
    before = realtime()
    video = VideoFile(tmp_path / "video.mp4", (64, 64), 10, codec)
    assert realtime() <= before
    for _ in range(3):
        video.append(np.zeros((4, 64, 64, 3), np.uint8))
        assert realtime() <= before
    video.close()
    assert realtime() <= before


def test_what_becomes_realtime_is_made_ordinary_again() -> None:
    try:
        with ordinary_priority():
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user may not make threads realtime")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
