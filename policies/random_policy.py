"""A policy that ignores what it sees: uniform random actions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from real2sim.actions import FIELDS, MOVE_ARM, WIDTH, ActionBounds
from real2sim.policies.policy import check_frames


class RandomPolicy:
    """Uniform actions inside ``bounds``; never asks to end the episode.

    Each lane has its own stream: lane i of the first reset draws from (seed, 0, i), of the second from
    (seed, 1, i).  `seed` replaces this by one seed per episode.
    """

    def __init__(self, seed: int = 0, bounds: ActionBounds | None = None) -> None:
        self._seed = seed
        self._bounds = bounds or ActionBounds.drawer()
        self._resets = 0
        self._next_seeds: list[int] | None = None
        self._streams: list[np.random.Generator] = []

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that the next `reset` begins."""
        self._next_seeds = [int(seed) for seed in seeds]

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin one random stream per instruction."""
        if self._next_seeds is not None and len(self._next_seeds) != len(instructions):
            raise ValueError(
                f"{len(self._next_seeds)} seeds for {len(instructions)} instructions; give one each"
            )
        addresses = (
            [[self._seed, self._resets, lane] for lane in range(len(instructions))]
            if self._next_seeds is None
            else [[self._seed, seed] for seed in self._next_seeds]
        )
        self._streams = [np.random.default_rng(address) for address in addresses]
        self._next_seeds = None
        self._resets += 1

    def act(self, frames: np.ndarray) -> np.ndarray:
        """Actions (b 13) float32 for uint8 frames (b h w 3)."""
        check_frames(frames, len(self._streams))
        low, high = self._bounds.low, self._bounds.high
        actions = np.stack([stream.uniform(low, high) for stream in self._streams]).astype(np.float32)
        choice = np.zeros(3, dtype=np.float32)
        choice[MOVE_ARM] = 1
        actions[:, FIELDS["terminate_episode"]] = choice
        return actions.reshape(-1, WIDTH)
