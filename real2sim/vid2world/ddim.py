"""DDIM steps with a noise level per frame, and guidance, as plain functions."""

from __future__ import annotations

import torch
from torch import Tensor


def _exact(value: Tensor | float, beside: Tensor) -> Tensor:
    """A level in double precision, where ``beside`` is; a single number stays with the processor, which hands it to a
    GPU's kernels without a copy that waits for the GPU."""
    value = torch.as_tensor(value, dtype=torch.float64)
    return value if value.ndim == 0 else value.to(beside.device)


def split_velocity(x: Tensor, v: Tensor, alpha: Tensor | float) -> tuple[Tensor, Tensor]:
    """Clean frames and noise that make up ``x`` according to the predicted velocity ``v``.

    v = sqrt(a) noise - sqrt(1 - a) clean (Salimans & Ho 2022, appendix D); ``alpha`` is the
    cumulative signal level, a number or shaped (b 1 t 1 1), so that frames may stand at different levels.
    """
    alpha = _exact(alpha, x)
    signal, noise = alpha.sqrt().to(x.dtype), (1 - alpha).sqrt().to(x.dtype)
    return signal * x - noise * v, signal * v + noise * x


def noise_in(x: Tensor, clean: Tensor, alpha: Tensor | float) -> Tensor:
    """The noise that ``x`` holds besides ``clean`` at signal level ``alpha``, which must be below 1."""
    alpha = _exact(alpha, x)
    return (x - alpha.sqrt().to(x.dtype) * clean) / (1 - alpha).sqrt().to(x.dtype)


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
    """Move each frame of ``x`` (b c t h w) from signal level ``alpha`` to ``alpha_next``, by its velocity ``v``.

    The clean frame is multiplied by ``rescale`` (DynamiCrafter's dynamic rescale: scale after the step over
    scale before it); the rest is :func:`mix`.
    """
    clean, noise = split_velocity(x, v, alpha)
    return mix(clean, noise, alpha_next, sigma=sigma, fresh=fresh, rescale=rescale)


def mix(
    clean: Tensor,
    noise: Tensor,
    alpha: Tensor | float,
    *,
    sigma: Tensor | float = 0.0,
    fresh: Tensor | None = None,
    rescale: Tensor | float = 1.0,
) -> Tensor:
    """Frames at signal level ``alpha`` from predicted clean frames and noise (b c t h w).

    DDIM (Song et al. 2021, eq. 12). Levels are numbers or shaped (b 1 t 1 1); ``fresh`` noise enters with
    deviation ``sigma`` in the place of as much predicted noise.
    """
    alpha, sigma, rescale = (_exact(value, clean) for value in (alpha, sigma, rescale))
    # From pure noise with eta = 1 the radicand is 0, but for rounding.
    direction = (1 - alpha - sigma**2).clamp(min=0).sqrt()
    moved = (alpha.sqrt() * rescale).to(clean.dtype) * clean + direction.to(clean.dtype) * noise
    return moved if fresh is None else moved + sigma.to(clean.dtype) * fresh


def guide(conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
    """Prediction moved away from the unconditional one (Ho & Salimans 2022); weight 1 leaves it unchanged."""
    return unconditional + weight * (conditional - unconditional)


def twice(tensor: Tensor) -> Tensor:
    """The batch twice, one copy for each branch of guidance."""
    return torch.cat([tensor, tensor])


def restore_deviation(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """``guided`` rescaled towards the standard deviation of ``conditional`` (Lin et al. 2024, section 3.4).

    The deviation is that of a whole sample (everything but the first axis).
    """
    axes = tuple(range(1, guided.ndim))
    ratio = conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    return guided * (share * ratio + (1 - share))
