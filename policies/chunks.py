"""Longer chunks of actions than a frame needs: what is not executed yet waits here, lane by lane."""

from __future__ import annotations

import numpy as np


class ChunkBuffer:
    """Keeps the rest of each lane's chunk until it is executed, K actions (``per_frame``) at a time.

    Of a chunk the first ``execute`` actions are used, all of them for None; a rest that does not fill a frame is
    dropped, because policies look once per frame.
    """

    def __init__(self, lanes: int, per_frame: int = 1, execute: int | None = None) -> None:
        if per_frame < 1:
            raise ValueError(f"per_frame must be at least 1, got {per_frame}")
        if execute is not None and (execute < per_frame or execute % per_frame):
            raise ValueError(
                f"execute is {execute}, which is no multiple of the {per_frame} actions that the robot takes per frame"
            )
        self._per_frame, self._execute = per_frame, execute
        self._waiting: list[np.ndarray | None] = [None] * lanes

    def needs(self) -> list[int]:
        """Lanes without actions, which need a new chunk before `take`."""
        return [lane for lane, actions in enumerate(self._waiting) if actions is None or not len(actions)]

    def put(self, lane: int, chunk: np.ndarray) -> None:
        """Replace what a lane has by a new chunk (m n)."""
        chunk = np.asarray(chunk)
        if chunk.ndim != 2 or len(chunk) < self._per_frame:
            raise ValueError(
                f"lane {lane}: a chunk has shape {chunk.shape}, expected (m, n) with at least the "
                f"{self._per_frame} actions of a frame"
            )
        kept = chunk[: self._execute]
        self._waiting[lane] = kept[: len(kept) - len(kept) % self._per_frame]

    def take(self, lane: int) -> np.ndarray:
        """The next K actions (K n) of a lane."""
        waiting = self._waiting[lane]
        if waiting is None or not len(waiting):
            raise ValueError(f"lane {lane} has no actions left; give it a chunk first")
        self._waiting[lane] = waiting[self._per_frame :]
        return waiting[: self._per_frame]

    def take_all(self) -> np.ndarray:
        """The next K actions of every lane (lanes K n)."""
        return np.stack([self.take(lane) for lane in range(len(self._waiting))])
