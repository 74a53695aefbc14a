"""Episodes are compressed and written by a thread while the next ones are drawn."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from real2sim.episodes.run_folder import RowWriter

LOG = logging.getLogger(__name__)
MOST_WAITING = 256 << 20
"""Bytes of frames that may wait to be written; one episode always may."""


class BackgroundWriter:
    """Hands episodes to a `RowWriter` in a thread of its own, in the order in which they come.

    An episode counts as finished once its row is there, and the row comes after its file as ever: what waits when the
    process is killed is drawn again.  What goes wrong in the thread is raised by the next `write`, or at the end of
    the block; nothing is written after it.  At the end of the block, also after an error or Ctrl-C, everything that
    waits is written and the row writer is closed; a second Ctrl-C drops what waits.
    """

    def __init__(self, open_rows: Callable[[], RowWriter], most_waiting: int = MOST_WAITING) -> None:
        self._most, self._waiting_bytes = most_waiting, 0
        self._waiting: deque[tuple[Mapping[str, Any], np.ndarray, np.ndarray]] = deque()
        self._changed = threading.Condition()
        self._ended, self._failure = False, None  # type: tuple[bool, BaseException | None]
        self._rows = open_rows()
        self._thread = threading.Thread(target=self._run, name="episode writer", daemon=True)
        self._thread.start()

    def write(self, row: Mapping[str, Any], frames: np.ndarray, actions: np.ndarray) -> None:
        """Have an episode written; waits while others of more than ``most_waiting`` bytes do."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._failure is not None
                    or not self._waiting
                    or self._waiting_bytes + frames.nbytes <= self._most
                )
            )
            self._raise()
            self._waiting.append((row, frames, actions))
            self._waiting_bytes += frames.nbytes
            self._changed.notify_all()

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish()
        except BaseException:
            with self._changed:
                self._waiting.clear()
            self._finish()
            raise
        if error is None:
            self._raise()
        elif self._failure is not None and self._failure is not error:
            LOG.warning("episodes that had ended were not written: %s", self._failure)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _finish(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with self._rows:
            while (episode := self._next()) is not None:
                try:
                    self._rows.write(*episode)
                except BaseException as error:
                    with self._changed:
                        self._failure = error
                        self._waiting.clear()
                        self._changed.notify_all()
                    return

    def _next(self) -> tuple[Mapping[str, Any], np.ndarray, np.ndarray] | None:
        """The episode that has waited longest; None after the last one."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ended)
            if not self._waiting:
                return None
            episode = self._waiting.popleft()
            self._waiting_bytes -= episode[1].nbytes
            self._changed.notify_all()
            return episode
