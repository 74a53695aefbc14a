"""One DDIM step with a noise level per frame, and guidance, as plain functions."""

from __future__ import annotations

import torch
from torch import Tensor


def split_velocity(x: Tensor, v: Tensor, alpha: Tensor | float) -> tuple[Tensor, Tensor]:
    """Clean frames and noise that make up ``x`` according to the predicted velocity ``v``.

    v = sqrt(a) noise - sqrt(1 - a) clean (Salimans & Ho 2022, appendix D); ``alpha`` is the
    cumulative signal level, a number or shaped (b 1 t 1 1), so that frames may stand at different levels.
    """
    alpha = torch.as_tensor(alpha, dtype=torch.float64, device=x.device)
    signal, noise = alpha.sqrt().to(x.dtype), (1 - alpha).sqrt().to(x.dtype)
    return signal * x - noise * v, signal * v + noise * x


def ddim_step(
    x: Tensor,
    v: Tensor,
    alpha: Tensor | float,
    alpha_next: Tensor | float,
    *,
    sigma: Tensor | float = 0.0,
    fresh: Tensor | None = None,
    rescale: Tensor | float = 1.0,
) -> Tensor:
    """Move each frame of ``x`` (b c t h w) from signal level ``alpha`` to ``alpha_next``.

    DDIM (Song et al. 2021, eq. 12) with v-prediction. Levels are numbers or shaped (b 1 t 1 1).
    ``fresh`` noise enters with deviation ``sigma``; the clean frame is multiplied by
    ``rescale`` (DynamiCrafter's dynamic rescale: scale after the step over scale before it).
    """
    clean, noise = split_velocity(x, v, alpha)
    alpha_next, sigma, rescale = (
        torch.as_tensor(value, dtype=torch.float64, device=x.device) for value in (alpha_next, sigma, rescale)
    )
    # From pure noise with eta = 1 the radicand is 0, but for rounding.
    direction = (1 - alpha_next - sigma**2).clamp(min=0).sqrt()
    moved = (alpha_next.sqrt() * rescale).to(x.dtype) * clean + direction.to(x.dtype) * noise
    return moved if fresh is None else moved + sigma.to(x.dtype) * fresh


def guide(conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
    """Prediction moved away from the unconditional one (Ho & Salimans 2022); weight 1 moves nothing."""
    return unconditional + weight * (conditional - unconditional)


def restore_deviation(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """``guided`` partly brought to the standard deviation of ``conditional`` (Lin et al. 2024, section 3.4).

    The deviation is that of a whole sample (everything but the first axis).
    """
    axes = tuple(range(1, guided.ndim))
    ratio = conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    return guided * (share * ratio + (1 - share))
