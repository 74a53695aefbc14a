"""Noise level, frame rate and action as one vector per frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoid(values: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of real ``values`` (n) at ``width / 2`` frequencies from 1 to 1/10000 (n width).

    Computed in float32 (Vaswani et al. 2017, in the order diffusion models use).
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=values.device) / half
    angles = values.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def embedding_mlp(inputs: int, width: int) -> nn.Sequential:
    """Two linear layers with a SiLU between them."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))


class DiscreteAction(nn.Embedding):
    """One vector per action number; a negative number, "no action", gives zeros.

    Name and shape of the weight are those of the CS:GO model. That an action is *one* number, and what the first
    frame is told, are assumptions; see docs/checkpoints.md.
    """

    def forward(self, actions: Tensor) -> Tensor:
        known = F.embedding(actions.clamp(min=0), self.weight)
        return known * (actions >= 0).unsqueeze(-1).to(known.dtype)


def action_mlp(actions: int, channels: int, width: int) -> nn.Sequential:
    """One vector per frame from the action that led to it (b t actions -> b t width)."""
    return nn.Sequential(
        nn.Linear(actions, channels),
        nn.SiLU(),
        nn.Linear(channels, width),
        nn.SiLU(),
        nn.Linear(width, width),
    )
