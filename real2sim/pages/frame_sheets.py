"""Episodes as pictures that a page plays: sheets of consecutive frames, read from the episode's file when asked."""

from __future__ import annotations

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from real2sim.pages.episode_files import NotHereError

PIXELS_PER_SHEET = 4_000_000
"""A sheet holds as many frames as fit, at least one."""
CACHED_BYTES = 512 << 20
"""Frames kept in memory; the episode that is played now stays in any case."""


class FrameSheets:
    """PNG sheets of episodes; ``read`` gives the frames uint8 (t h w 3) of an episode."""

    def __init__(self, read: Callable[[str], np.ndarray]) -> None:
        self._read = read
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def layout(self, episode: str) -> dict[str, Any]:
        """What a player has to know: how many frames of which size there are, and how many to a sheet and a row."""
        frames = self._frames(episode)
        count, height, width = frames.shape[:3]
        per_sheet, columns = sheet_grid(count, height, width)
        return {"frames": count, "height": height, "width": width, "per_sheet": per_sheet, "columns": columns}

    def png(self, episode: str, sheet: int) -> bytes:
        """One sheet as PNG; NotHereError where the episode has no such sheet."""
        from PIL import Image

        frames = self._frames(episode)
        per_sheet, columns = sheet_grid(*frames.shape[:3])
        shown = frames[sheet * per_sheet : (sheet + 1) * per_sheet]
        if sheet < 0 or not len(shown):
            raise NotHereError("the episode has no such frames")
        buffer = io.BytesIO()
        Image.fromarray(tiled(shown, columns)).save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()

    def _frames(self, episode: str) -> np.ndarray:
        with self._lock:
            if episode in self._kept:
                self._kept.move_to_end(episode)
                return self._kept[episode]
        frames = self._read(episode)
        with self._lock:
            self._kept[episode] = frames
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > CACHED_BYTES:
                self._kept.popitem(last=False)
        return frames


def sheet_grid(frames: int, height: int, width: int) -> tuple[int, int]:
    """Frames per sheet and per row of it, so that a sheet is roughly square."""
    per_sheet = max(1, min(frames, PIXELS_PER_SHEET // (height * width)))
    columns = max(1, min(per_sheet, round(math.sqrt(per_sheet * height / width))))
    return per_sheet, columns


def tiled(frames: np.ndarray, columns: int) -> np.ndarray:
    """Frames (t h w 3) as one picture, row by row; what is left of the last row is black."""
    count, height, width = frames.shape[:3]
    rows = math.ceil(count / columns)
    full = np.zeros((rows * columns, height, width, 3), np.uint8)
    full[:count] = frames
    grid = full.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return np.ascontiguousarray(grid).reshape(rows * height, columns * width, 3)
