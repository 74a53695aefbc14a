"""Longer chunks of actions than a frame needs: what is not executed yet waits here, lane by lane."""

from __future__ import annotations

import numpy as np

from real2sim.checks import LARGEST_COUNT, check_whole
from real2sim.simulation.action_checks import as_numbers, check_finite_numbers


class ChunkBuffer:
    """Keeps the rest of each lane's chunk until it is executed, K actions (``per_frame``) at a time.

    Of a chunk the first ``execute`` actions are used, all of them for None; a rest that does not fill a frame is
    dropped, because policies look once per frame.
    """

    def __init__(self, lanes: int, per_frame: int = 1, execute: int | None = None) -> None:
        check_whole("lanes", lanes, 0, LARGEST_COUNT)
        check_whole("per_frame", per_frame, 1, LARGEST_COUNT)
        if execute is not None and (check_whole("execute", execute) < per_frame or execute % per_frame):
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
        self._check_lane(lane)
        chunk = as_numbers(chunk, f"lane {lane}")
        if chunk.ndim != 2 or len(chunk) < self._per_frame:
            raise ValueError(
                f"lane {lane}: a chunk has shape {chunk.shape}, expected (m, n) with at least the "
                f"{self._per_frame} actions of a frame"
            )
        chunk = check_finite_numbers(chunk, f"lane {lane}")
        kept = chunk[: self._execute]
        self._waiting[lane] = kept[: len(kept) - len(kept) % self._per_frame]

    def take(self, lane: int) -> np.ndarray:
        """The next K actions (K n) of a lane."""
        self._check_lane(lane)
        waiting = self._waiting[lane]
        if waiting is None or not len(waiting):
            raise ValueError(f"lane {lane} has no actions left; give it a chunk first")
        self._waiting[lane] = waiting[self._per_frame :]
        return waiting[: self._per_frame]

    def take_all(self) -> np.ndarray:
        """The next K actions of every lane (lanes K n)."""
        widths = {waiting.shape[1] for waiting in self._waiting if waiting is not None}
        if len(widths) != 1:
            found = ", ".join(map(str, sorted(widths))) or "no actions at all"
            raise ValueError(
                f"the chunks of the lanes have {found} numbers per action, expected one width for all"
            )
        return np.stack([self.take(lane) for lane in range(len(self._waiting))])

    def _check_lane(self, lane: int) -> None:
        if check_whole("lane", lane, 0) >= len(self._waiting):
            raise ValueError(f"lane is {lane}, expected one of {len(self._waiting)} lanes, counted from 0")
