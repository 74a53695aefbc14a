"""The window of frames that a released model remembers, and the checks of what enters it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from real2sim.vid2world.lane_state import LaneState
from real2sim.vid2world.released.config import Vid2WorldConfig

KEPT_ACTIONS = 0x6B65
"""Address of the actions that the unconditional branch keeps when frames are drawn together."""


@dataclass(frozen=True)
class Vid2WorldState(LaneState):
    """What a released model remembers of its lanes: the last frames of its window."""

    latents: Tensor
    """Frames as they were drawn (b c t h w), or encoded again once the window has moved on."""
    encoded: Tensor
    """The same frames, all encoded from their pictures (b c t h w)."""
    pictures: Tensor
    """Decoded frames (b t 3 H W) in [-1, 1]."""
    actions: Tensor
    """The action that led to each frame (b t a); zeros for the window's first."""
    context: Tensor
    """Caption and image tokens of the window's first frame (b tokens d)."""
    unconditional_context: Tensor
    """The same for the branch without the newest action."""

    def join(self, other: Vid2WorldState) -> Vid2WorldState | None:
        """The state of these lanes, then those of the other state; None while one of them has the longer history."""
        return super().join(other) if self.latents.shape[2] == other.latents.shape[2] else None


def first_window(
    config: Vid2WorldConfig, frames: np.ndarray, past: np.ndarray | None, past_actions: np.ndarray | None
) -> tuple[np.ndarray, Tensor]:
    """Frames (b p+1 h w 3) that a window begins with, and the actions between them, float32 (b p a).

    Of the past at most as many frames are kept as the history has room for; ValueError if its shapes or numbers do not
    fit the start frames (b h w 3).
    """
    lanes, width = len(frames), config.unet.action_dim or 0
    if past is None:
        past = np.empty((lanes, 0, *frames.shape[1:]), np.uint8)
    if past_actions is None:
        past_actions = np.empty((lanes, 0, width), np.float32)
    if past.dtype != np.uint8 or past.ndim != 5 or (len(past), *past.shape[2:]) != frames.shape:
        raise ValueError(
            f"past frames are {past.dtype} {past.shape}, expected uint8 ({lanes}, p, "
            f"{', '.join(map(str, frames.shape[1:]))})"
        )
    if past_actions.shape != (lanes, past.shape[1], width):
        raise ValueError(
            f"past actions have shape {past_actions.shape}, expected {(lanes, past.shape[1], width)}: one "
            "after each past frame"
        )
    kept = min(past.shape[1], config.history - 1)
    past, past_actions = past[:, past.shape[1] - kept :], past_actions[:, past.shape[1] - kept :]
    if not np.isfinite(past_actions).all():
        raise ValueError("past actions are not finite; check the suite's start frames")
    actions = torch.from_numpy(np.ascontiguousarray(past_actions, np.float32))
    return np.concatenate([past, frames[:, None]], axis=1), actions


def kept_actions(config: Vid2WorldConfig, seeds: Sequence[int], frames: int) -> Tensor:
    """Which actions the unconditional branch keeps when frames are drawn together (b t), 0 or 1."""
    draws = [np.random.default_rng([KEPT_ACTIONS, seed]).random(frames) for seed in seeds]
    return torch.from_numpy((np.stack(draws) < config.sampler.keep_action).astype(np.float32))


def check_actions(config: Vid2WorldConfig, actions: np.ndarray, state: LaneState) -> None:
    """Raises ValueError if actions (b a) do not fit the lanes or the model."""
    unet, lanes = config.unet, len(state.seeds)
    expected = (lanes, unet.action_dim)
    if actions.shape != expected:
        raise ValueError(f"actions have shape {actions.shape}, this model expects {expected}")
    state.check_finite(actions)
    if unet.discrete_actions and not np.isin(actions, (0, 1)).all():
        bad = actions[~np.isin(actions, (0, 1))][0]
        raise ValueError(f"an action has the entry {bad:g}; this model's actions are zeros and ones")
