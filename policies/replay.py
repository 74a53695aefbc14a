"""Recorded or scripted actions, played back without looking at the frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from real2sim.actions import WIDTH
from real2sim.policies.policy import check_frames


class ReplayPolicy:
    """Plays ``actions`` (b t 13): lane i gets ``actions[i, 0]``, then ``actions[i, 1]``, and so on."""

    def __init__(self, actions: np.ndarray) -> None:
        actions = np.asarray(actions, dtype=np.float32)
        if actions.ndim != 3 or actions.shape[2] != WIDTH:
            raise ValueError(f"actions have shape {actions.shape}; expected (lanes, steps, {WIDTH})")
        self._actions = actions
        self._step = 0

    def reset(self, instructions: Sequence[str]) -> None:
        """Go back to the first action; there must be as many instructions as recordings."""
        if len(instructions) != len(self._actions):
            raise ValueError(
                f"{len(instructions)} instructions for {len(self._actions)} recordings; give one each"
            )
        self._step = 0

    def act(self, frames: np.ndarray) -> np.ndarray:
        """The next recorded actions (b 13) float32."""
        check_frames(frames, len(self._actions))
        if self._step >= self._actions.shape[1]:
            raise ValueError(
                f"the recording has {self._actions.shape[1]} steps and step {self._step} was asked for; "
                "choose a shorter horizon or record more"
            )
        actions = self._actions[:, self._step].copy()
        self._step += 1
        return actions
