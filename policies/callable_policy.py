"""A plain function as a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from real2sim.policies.policy import check_frames


class CallablePolicy:
    """Calls ``function(frames, instructions) -> actions`` at each step; it keeps no state of its own.

    ``frames`` are uint8 (b h w 3), ``instructions`` the b strings given to `reset`, the result (b 13).
    """

    def __init__(self, function: Callable[[np.ndarray, Sequence[str]], np.ndarray]) -> None:
        self._function = function
        self._instructions: tuple[str, ...] = ()

    def reset(self, instructions: Sequence[str]) -> None:
        """Keep the instructions for the calls to come."""
        self._instructions = tuple(instructions)

    def act(self, frames: np.ndarray) -> np.ndarray:
        """Whatever the function returns, as float32."""
        check_frames(frames, len(self._instructions))
        return np.asarray(self._function(frames, self._instructions), dtype=np.float32)
