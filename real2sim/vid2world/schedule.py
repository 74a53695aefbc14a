"""The noise schedule of Vid2World and the tables of its DDIM steps, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

DIFFUSION_STEPS = 1000

Spacing = Literal["uniform_trailing", "uniform"]


def scaled_linear_betas(start: float = 0.00085, end: float = 0.012) -> Tensor:
    """Noise added at each diffusion step: squares of evenly spaced values (Rombach et al. 2022)."""
    return torch.linspace(start**0.5, end**0.5, DIFFUSION_STEPS, dtype=torch.float64) ** 2


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Betas rescaled so that no signal is left at the last step (Lin et al. 2024, algorithm 1)."""
    root = torch.cumprod(1 - betas, dim=0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    cumulative = root**2
    return 1 - torch.cat([cumulative[:1], cumulative[1:] / cumulative[:-1]])


def dynamic_rescale(base: float = 0.7, turn: int = 400) -> Tensor:
    """Factor on the clean latent at each step: from 1 down to ``base`` over ``turn`` steps, then constant.

    Of DynamiCrafter (Xing et al. 2024); the published array is longer, but diffusion ends at step 999.
    """
    falling = torch.linspace(1.0, base, turn, dtype=torch.float64)
    return torch.cat([falling, falling.new_full((DIFFUSION_STEPS - turn,), base)])


@dataclass(frozen=True)
class NoiseSchedule:
    """Signal and scale at each of the 1000 diffusion steps (float64)."""

    alphas_cumprod: Tensor
    """Share of the signal's variance that is left; exactly 0 at the last step."""
    scale: Tensor
    """Factor that the clean latent was multiplied with in training before noise was added."""


@lru_cache(maxsize=1)
def vid2world_schedule() -> NoiseSchedule:
    """The schedule of the released models."""
    betas = zero_terminal_snr(scaled_linear_betas())
    cumulative = torch.cumprod(1 - betas, dim=0)
    return NoiseSchedule(cumulative, dynamic_rescale())


def ddim_timesteps(steps: int, spacing: Spacing = "uniform_trailing") -> list[int]:
    """Diffusion steps that sampling in ``steps`` steps visits, ascending.

    ``"uniform_trailing"`` starts from pure noise (Lin et al. 2024). ``"uniform"`` never reaches it and
    visits more than ``steps`` steps where 1000 is not a multiple; the published code indexes past its
    tables for 3, 9, 27, 36 and 37 steps, here that last step is left out.
    """
    if not 1 <= steps <= DIFFUSION_STEPS:
        raise ValueError(f"steps must be between 1 and {DIFFUSION_STEPS}, got {steps}")
    if spacing == "uniform":
        return [t + 1 for t in range(0, DIFFUSION_STEPS - 1, DIFFUSION_STEPS // steps)]
    if spacing != "uniform_trailing":
        raise ValueError(f'spacing must be "uniform_trailing" or "uniform", got {spacing!r}')
    # In floating point, as published: it differs from exact arithmetic by one step for some counts
    # and, from 61 on, has one number too many at its end for some.
    descending = np.round(np.arange(DIFFUSION_STEPS, 0, -DIFFUSION_STEPS / steps))[:steps]
    return [int(t) - 1 for t in descending[::-1]]


@dataclass(frozen=True)
class DDIMTable:
    """Coefficients of each DDIM step, in ascending order of noise; sampling starts at the end."""

    timesteps: tuple[int, ...]
    alphas: tuple[float, ...]
    """Signal before the step."""
    alphas_next: tuple[float, ...]
    """Signal after the step."""
    sigmas: tuple[float, ...]
    """Standard deviation of the fresh noise."""
    scales: tuple[float, ...]
    """The schedule's scale before the step."""
    scales_next: tuple[float, ...]
    """The schedule's scale after the step."""

    def __len__(self) -> int:
        return len(self.timesteps)


def ddim_table(schedule: NoiseSchedule, timesteps: list[int], eta: float = 0.0) -> DDIMTable:
    """Table for ascending ``timesteps`` (Song et al. 2021, eq. 12 and 16); ``eta`` 0 adds no fresh noise.

    The last sampling step ends at diffusion step 0, not at the clean frame, as published.
    """
    before = torch.tensor(timesteps)
    alphas = schedule.alphas_cumprod[before]
    alphas_next = torch.cat([schedule.alphas_cumprod[:1], alphas[:-1]])
    spread = (1 - alphas_next) / (1 - alphas) * (1 - alphas / alphas_next)
    # A first step at diffusion step 0 goes nowhere; rounding must not make its spread negative.
    sigmas = eta * spread.clamp(min=0).sqrt()
    scales = schedule.scale[before]
    scales_next = torch.cat([scales[:1], scales[:-1]])
    columns = (alphas, alphas_next, sigmas, scales, scales_next)
    return DDIMTable(tuple(timesteps), *(tuple(column.tolist()) for column in columns))
