"""Recorded episodes drawn again by a world model, from their start frames and actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from real2sim.vid2world.load import DrawsTogether, knows_state


class FramePredictor(Protocol):
    """A world model: lanes with a state."""

    def reset(self, frames: np.ndarray, seeds: Sequence[int]) -> Any:
        """State of lanes that stand at frames uint8 (b h w 3)."""

    def step(self, state: Any, actions: np.ndarray) -> tuple[np.ndarray, Any]:
        """Next frames uint8 (b h w 3) after actions (b 13), and the next state."""


def episode_seeds(seed: int, episodes: int) -> list[int]:
    """One noise seed per episode, the same however many episodes there are."""
    words = (
        np.random.SeedSequence([seed, episode]).generate_state(1, np.uint64)[0] for episode in range(episodes)
    )
    return [int(word >> np.uint64(1)) for word in words]


def _begun(model: FramePredictor, frames: np.ndarray, seeds: Sequence[int], states: np.ndarray | None) -> Any:
    if states is None:
        return model.reset(frames, seeds)
    assert knows_state(model)
    return model.reset(frames, seeds, states)


def predict_rollouts(
    model: FramePredictor,
    images: np.ndarray,
    actions: np.ndarray,
    seed: int = 0,
    batch: int = 16,
    states: np.ndarray | None = None,
) -> np.ndarray:
    """Frames 1..t (n t h w 3) drawn one after the other, each from the model's own past.

    ``images`` uint8 (n t+1 h w 3), and ``states`` (n t+1 m) for models that know a robot's state, are read at frame 0
    only; ``actions[:, i]`` (n t 13) leads to frame i+1.
    """
    seeds = episode_seeds(seed, len(images))
    drawn = np.empty_like(images[:, 1 : actions.shape[1] + 1])
    for first in tqdm(range(0, len(images), batch), desc="autoregressive", unit="batch"):
        rows = slice(first, first + batch)
        state = _begun(model, images[rows, 0], seeds[rows], None if states is None else states[rows, 0])
        for frame in range(actions.shape[1]):
            drawn[rows, frame], state = model.step(state, actions[rows, frame])
    return drawn


def predict_single_steps(
    model: FramePredictor,
    images: np.ndarray,
    actions: np.ndarray,
    seed: int = 0,
    batch: int = 16,
    states: np.ndarray | None = None,
) -> np.ndarray:
    """Frames 1..t (n t h w 3), each drawn from the *recorded* frame (and state) before it and nothing else."""
    seeds = episode_seeds(seed, len(images))
    drawn = np.empty_like(images[:, 1 : actions.shape[1] + 1])
    for first in tqdm(range(0, len(images), batch), desc="single steps", unit="batch"):
        rows = slice(first, first + batch)
        for frame in range(actions.shape[1]):
            known = None if states is None else states[rows, frame]
            state = _begun(model, images[rows, frame], seeds[rows], known)
            drawn[rows, frame], _ = model.step(state, actions[rows, frame])
    return drawn


def predict_together(
    model: DrawsTogether, images: np.ndarray, actions: np.ndarray, seed: int = 0, batch: int = 16
) -> np.ndarray:
    """Frames 1..t (n t h w 3), all denoised at once from the start frame; for models that can do so."""
    seeds = episode_seeds(seed, len(images))
    parts = []
    for first in tqdm(range(0, len(images), batch), desc="together", unit="batch"):
        rows = slice(first, first + batch)
        parts.append(model.draw_together(images[rows, 0], actions[rows], seeds[rows]))
    return np.concatenate(parts)


def other_actions(actions: np.ndarray, seed: int = 0) -> np.ndarray:
    """The actions (n t 13) of other episodes: everybody gets somebody else's, frame by frame in order."""
    if len(actions) < 2:
        raise ValueError(f"shuffling actions between episodes needs at least 2 episodes, got {len(actions)}")
    order = np.random.default_rng(seed).permutation(len(actions))
    shuffled = np.empty_like(actions)
    shuffled[order] = actions[np.roll(order, 1)]
    return shuffled
