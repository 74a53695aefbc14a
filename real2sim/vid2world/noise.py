"""Addressed noise: an episode gets the same noise on any machine and in any batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

CONTEXT = 1_000_000
"""Address of the noise on a finished frame in the history; denoising steps count from 0."""


def frame_noise(seed: int, frame: int, step: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise of one frame of one episode at one denoising step, drawn on the CPU."""
    word = int(np.random.SeedSequence([seed, frame, step]).generate_state(1, np.uint64)[0])
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(word >> 1))


def batch_noise(seeds: Sequence[int], frames: Sequence[int], step: int, shape: Sequence[int]) -> Tensor:
    """The noise of several episodes, each at a frame of its own, at the same step (b, *shape)."""
    pairs = zip(seeds, frames, strict=True)
    return torch.stack([frame_noise(int(seed), frame, step, shape) for seed, frame in pairs])
