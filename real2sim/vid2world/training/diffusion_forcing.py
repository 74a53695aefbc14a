"""The training objective: frames at independent noise levels (Diffusion Forcing, Chen et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from real2sim.vid2world.ddim import split_velocity

PURE = 999
"""The last diffusion step: nothing but noise."""


@dataclass(frozen=True)
class ForcingConfig:
    """How training draws noise levels (Diffusion Forcing, Chen et al. 2024)."""

    independent: float = 0.25
    """Share of windows in which every frame has its own uniform level."""
    clean: float = 0.5
    """In the other windows: probability that a frame is nearly clean, like history in a rollout."""
    clean_below: int = 80
    """Nearly clean means a level below this diffusion step."""
    pure: float = 0.5
    """Of the noisy frames: share that is pure noise, where sampling starts."""
    alternating: float = 0.0
    """Of the windows without independent levels: share in which every second frame is pure noise and the others are
    nearly clean, so that each follows a finished frame, as in a rollout."""
    action_dropout: float = 0.1
    """Probability that a frame's action is withheld."""
    motion_weight: float = 3.0
    """Extra weight of patches that move, and of their neighbours."""
    own_history: float = 0.0
    """Share of the training, at its end, in which half of the history frames are the model's own predictions."""
    own_depth: int = 1
    """Rounds of such predictions: each is one more pass over the window, on top of the last one."""


@dataclass(frozen=True)
class Window:
    """A batch of training windows."""

    latents: Tensor
    """Clean frames (b c t h w)."""
    condition: Tensor
    """The episode's first frame, clean (b c 1 h w)."""
    actions: Tensor
    """Shifted: the action that led to each frame, zeros for a frame without one (b t 13)."""
    robot: Tensor | None = None
    """State of the robot at each frame (b t numbers); None for models without one."""


def draw_levels(config: ForcingConfig, lanes: int, frames: int, generator: torch.Generator) -> Tensor:
    """Diffusion steps 0..999 (b t) for a batch of windows; the first frame of a window is nearly clean."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    anywhere = (uniform(lanes, frames) * 1000).long()
    nearly_clean = (uniform(lanes, frames) * config.clean_below).long()
    noisy = torch.where(uniform(lanes, frames) < config.pure, PURE, anywhere)
    mixed = torch.where(uniform(lanes, frames) < config.clean, nearly_clean, noisy)
    if config.alternating:
        odd = (torch.arange(frames) + (uniform(lanes, 1) < 0.5)) % 2 == 1
        in_turns = torch.where(odd, PURE, nearly_clean)
        mixed = torch.where(uniform(lanes, 1) < config.alternating, in_turns, mixed)
    levels = torch.where(uniform(lanes, 1) < config.independent, anywhere, mixed)
    levels[:, 0] = nearly_clean[:, 0]
    return levels


def add_noise(latents: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """Frames (b c t h w) at cumulative signal level ``alpha`` (b t): sqrt(a) x + sqrt(1 - a) noise."""
    alpha = alpha[:, None, :, None, None]
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


def velocity(latents: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What the released weights predict: sqrt(a) noise - sqrt(1 - a) x (Salimans & Ho 2022), shapes as above."""
    alpha = alpha[:, None, :, None, None]
    return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents


def clean_from(prediction: Tensor, x: Tensor, alpha: Tensor, kind: str) -> Tensor:
    """The clean frame that a prediction means: itself ("x0"), or what its velocity leaves of ``x`` ("v")."""
    return prediction if kind == "x0" else split_velocity(x, prediction, alpha[:, None, :, None, None])[0]


def motion_weights(latents: Tensor, extra: float) -> Tensor:
    """1 + ``extra`` where a patch or one of its neighbours changed since the frame before (b 1 t h w).

    Contact is decided by a few moving pixels; an even average over the image hardly sees them.
    """
    change = F.pad(
        (latents[:, :, 1:] - latents[:, :, :-1]).abs().mean(dim=1, keepdim=True), (0, 0, 0, 0, 1, 0)
    )
    moved = (change > 0.1).to(latents.dtype)
    return 1 + extra * F.max_pool3d(moved, (1, 3, 3), stride=1, padding=(0, 1, 1))


def forcing_loss(clean: Tensor, window: Window, levels: Tensor, alpha: Tensor, extra: float) -> Tensor:
    """Weighted squared error of the predicted ``clean`` frames (b c t h w), one number.

    The weight of a level is min(1/(1 - a), 4), and a tenth of that for nearly clean frames, which are
    easy and serve as history; of a patch, see :func:`motion_weights`.
    """
    weight = (1 / (1 - alpha).clamp(min=1e-4)).clamp(max=4.0) * torch.where(levels < 100, 0.1, 1.0)
    weight = weight[:, None, :, None, None] * motion_weights(window.latents, extra)
    return ((clean - window.latents).square() * weight).mean()
