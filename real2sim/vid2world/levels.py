"""Noise levels of the small models: the released schedule's 1000 diffusion steps, zero terminal signal."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=1)
def signal_levels() -> Tensor:
    """Cumulative signal level (alphas_cumprod) of each of the 1000 diffusion steps, float32."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    root = torch.cumprod(1 - betas, dim=0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return (root**2).float()


def trailing_steps(count: int) -> list[int]:
    """Ascending diffusion steps of a drawing in ``count`` steps; the last is pure noise (trailing spacing)."""
    return [round(1000 - index * 1000 / count) - 1 for index in range(count)][::-1]
