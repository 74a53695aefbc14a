"""Open-loop replay of recorded or scripted actions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from real2sim.policies.policy import Observation, check_instructions, observed_frames
from real2sim.simulation.action_checks import as_numbers, check_finite_numbers


class ReplayPolicy:
    """Plays ``actions`` (lanes t n), or (lanes t K n) for K actions per frame: lane i gets ``actions[i, 0]``, then
    ``actions[i, 1]``, and so on."""

    def __init__(self, actions: np.ndarray) -> None:
        actions = as_numbers(actions, "the recording")
        if actions.ndim not in (3, 4):
            raise ValueError(
                f"actions have shape {actions.shape}; expected (lanes, steps, n) or (lanes, steps, K, n)"
            )
        self._actions = check_finite_numbers(actions, "the recording")
        self._step = 0

    def reset(self, instructions: Sequence[str]) -> None:
        """Go back to the first action; there must be as many instructions as recordings."""
        instructions = check_instructions(instructions)
        if len(instructions) != len(self._actions):
            raise ValueError(
                f"{len(instructions)} instructions for {len(self._actions)} recordings; give one each"
            )
        self._step = 0

    def act(self, observation: Observation) -> np.ndarray:
        """The next recorded actions float32 (lanes n), or (lanes K n)."""
        observed_frames(observation, len(self._actions))
        if self._step >= self._actions.shape[1]:
            raise ValueError(
                f"the recording has {self._actions.shape[1]} steps and step {self._step} was asked for; "
                "choose a shorter horizon or record more"
            )
        actions = self._actions[:, self._step].copy()
        self._step += 1
        return actions
