"""A plain function as a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from real2sim.policies.policy import Observation, Requirements, check_instructions, observed_frames
from real2sim.simulation.action_checks import as_numbers


class CallablePolicy:
    """Calls ``function(observation) -> actions`` at each step; it keeps no state of its own.

    ``observation`` has frames, images by camera, state and instructions; the result is (lanes K n), or (lanes n)
    where K is 1.  ``requires`` may say what the function needs of the robot.
    """

    def __init__(
        self, function: Callable[[Observation], np.ndarray], requires: Requirements | None = None
    ) -> None:
        if not callable(function):
            raise ValueError(
                f"the function of a policy is of type {type(function).__name__}, expected a function"
            )
        if not isinstance(requires, Requirements | None):
            raise ValueError(f"requires is of type {type(requires).__name__}, expected Requirements or None")
        self._function = function
        self._lanes = 0
        self.requires = requires or Requirements()

    def reset(self, instructions: Sequence[str]) -> None:
        """Nothing is remembered but the number of lanes."""
        self._lanes = len(check_instructions(instructions))

    def act(self, observation: Observation) -> np.ndarray:
        """Whatever the function returns, as an array."""
        observed_frames(observation, self._lanes)
        return as_numbers(self._function(observation), "the function of a policy")
