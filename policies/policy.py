"""What every policy offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Policy(Protocol):
    """Acts on a batch of camera frames, one lane per episode."""

    def reset(self, instructions: Sequence[str]) -> None:
        """Forget the past; one instruction per lane."""

    def act(self, frames: np.ndarray) -> np.ndarray:
        """Actions (b 13) float32, laid out as in `real2sim.actions`, for uint8 frames (b h w 3).

        Called once per step with the lanes given to `reset`, in the same order.
        """


@runtime_checkable
class StochasticPolicy(Policy, Protocol):
    """A policy that draws random numbers and can be told from which seeds."""

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that the next `reset` begins.

        An episode then has the same actions whatever lane or batch it runs in.
        """


def check_frames(frames: np.ndarray, lanes: int) -> None:
    """Raise a ValueError unless ``frames`` is uint8 (lanes h w 3)."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[0] != lanes or frames.shape[3] != 3:
        raise ValueError(
            f"frames have shape {frames.shape} and type {frames.dtype}; "
            f"expected uint8 ({lanes}, height, width, 3): one frame for each instruction given to reset"
        )
