"""Noise level, frame rate and action as one vector per frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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


class ActionTable(nn.Embedding):
    """One vector per action (b t n -> b t width): the sum of the rows whose entry is 1.

    The layer of the CS:GO model.  An action is a vector of zeros and ones, several of them one (keys held, buttons,
    one step of the mouse per axis), and the table is multiplied by it.
    """

    def forward(self, actions: Tensor) -> Tensor:
        return actions.to(self.weight.dtype) @ self.weight


def action_mlp(actions: int, channels: int, width: int) -> nn.Sequential:
    """One vector per frame from the action that led to it (b t actions -> b t width)."""
    return nn.Sequential(
        nn.Linear(actions, channels),
        nn.SiLU(),
        nn.Linear(channels, width),
        nn.SiLU(),
        nn.Linear(width, width),
    )
