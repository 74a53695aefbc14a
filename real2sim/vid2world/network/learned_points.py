"""A robot's state as soft points in the image, placed by a learned network: no camera parameters, no kinematics."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

WIDTH = 192
FREQUENCIES = 3
"""Sines and cosines of each number that the network sees besides it."""
SMALLEST, LARGEST = 0.6, 8.0
"""Radii of a point, in places of the feature map."""


class LearnedPoints(nn.Module):
    """Features (n outputs height width) of states (n numbers): Gaussian points whose place, size and height a small
    network reads from the state, then a convolution.

    Where things stand in an image is a smooth function of joints and places of objects, and the one thing about it that
    convolutions learn badly; as coordinates it is learned exactly.
    """

    def __init__(self, numbers: int, points: int, outputs: int) -> None:
        super().__init__()
        self.points = points
        self.net = nn.Sequential(
            nn.Linear(numbers * (1 + 2 * FREQUENCIES), WIDTH),
            nn.SiLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.SiLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.SiLU(),
            nn.Linear(WIDTH, 4 * points),
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.02)
        # At first the points are spread evenly over the image, each about as wide as its distance to the next one.
        middle = torch.rand(points, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.no_grad():
            last.bias.copy_(
                torch.cat([middle, torch.zeros(points, 1), torch.ones(points, 1)], dim=1).flatten()
            )
        self.out = nn.Conv2d(points, outputs, 3, padding=1)

    def forward(self, states: Tensor, height: int, width: int) -> Tensor:
        waves = [states]
        for power in range(FREQUENCIES):
            angle = states * (math.pi / 4 * 2**power)
            waves += [angle.sin(), angle.cos()]
        right, down, size, level = (
            self.net(torch.cat(waves, dim=-1)).unflatten(-1, (self.points, 4)).unbind(-1)
        )
        radius = SMALLEST + (LARGEST - SMALLEST) * torch.sigmoid(size - 1)
        columns = torch.arange(width, device=states.device, dtype=states.dtype) + 0.5 - width / 2
        rows = torch.arange(height, device=states.device, dtype=states.dtype) + 0.5 - height / 2
        across = torch.exp(-0.5 * ((columns - right[..., None] * width / 2) / radius[..., None]).square())
        along = torch.exp(-0.5 * ((rows - down[..., None] * height / 2) / radius[..., None]).square())
        return self.out(level[..., None, None] * along[..., :, None] * across[..., None, :])
