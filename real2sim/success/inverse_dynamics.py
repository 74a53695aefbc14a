"""The network behind the validity gate: which action leads from one frame to the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from real2sim.checks import check_finite, check_sizes, check_whole
from real2sim.success.encoder import hidden_layer, picture_encoder

LEAST_SCALE = 0.05
"""Smallest scale of an error, in standard deviations of the action: no error counts more than twenty times."""
TALLEST = 96
"""Rows of pixels that the network looks at; larger frames are averaged down."""


@dataclass(frozen=True)
class InverseDynamicsConfig:
    """Shape of the network."""

    numbers: int
    """Numbers recovered per pair of frames: K actions of n numbers."""
    image_size: tuple[int, int] = (64, 64)
    """Height and width in pixels, at least 8 each, that frames are averaged to."""
    widths: tuple[int, int, int] = (24, 48, 80)
    """Channels at 1/2, 1/4 and 1/8 of the image size; the last two are multiples of 8."""
    hidden: int = 96
    """Width of the last hidden layer."""

    def __post_init__(self) -> None:
        check_whole("numbers", self.numbers)
        check_sizes(self, "image_size", "widths", "hidden")
        if any(size < 8 for size in self.image_size):
            raise ValueError(f"image_size must be at least 8 x 8 pixels, got {self.image_size}")
        if len(self.widths) != 3 or any(width % 8 for width in self.widths[1:]):
            raise ValueError(f"widths must be three numbers, the last two multiples of 8, got {self.widths}")

    @classmethod
    def tiny(cls, numbers: int = 3) -> InverseDynamicsConfig:
        """Toy size for tests."""
        return cls(numbers, image_size=(16, 16), widths=(8, 8, 8), hidden=16)


def network_size(canvas: tuple[int, int]) -> tuple[int, int]:
    """Height and width to which canvases (height, width) are averaged, at most 96 rows of the same shape."""
    height, width = canvas
    rows = min(height, TALLEST)
    return max(8, rows), max(8, round(width * rows / height))


class InverseDynamics(nn.Module):
    """Actions (b m) and their scales (b m) from two consecutive frames (b 2 c h w, in [-1, 1]).

    Both are in standard deviations of the recorded actions around their mean, which the network keeps; numbers that
    never change in the recordings have the spread 0, and nothing is said about them.  The scale is that of a Laplace
    distribution: where frames do not tell the action (an arm that is blocked), it is large.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: InverseDynamicsConfig) -> None:
        super().__init__()
        self.image_size = config.image_size
        self.encoder = picture_encoder(9, config.widths)
        self.hidden = hidden_layer(config.image_size, config.hidden)
        self.action = nn.Linear(config.hidden, config.numbers)
        self.scale = nn.Linear(config.hidden, config.numbers)
        self.register_buffer("mean", torch.zeros(config.numbers))
        self.register_buffer("spread", torch.ones(config.numbers))

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised actions (b m) and scales (b m) between 0.05 and 1."""
        before, after = pairs[:, 0], pairs[:, 1]
        seen = torch.cat([before, after, 4 * (after - before)], dim=1)
        if seen.shape[-2:] != self.image_size:
            seen = functional.adaptive_avg_pool2d(seen, self.image_size)
        features = self.hidden(self.encoder(seen))
        scale = LEAST_SCALE + (1 - LEAST_SCALE) * torch.sigmoid(self.scale(features))
        return self.action(features), scale

    def standardised(self, actions: Tensor) -> Tensor:
        """Actions (b m) in standard deviations around their mean; 0 for numbers that never change."""
        return (actions - self.mean) / torch.where(self.spread > 0, self.spread, torch.inf)


def scaled_errors(recovered: Tensor, scale: Tensor, actions: Tensor, spread: Tensor) -> Tensor:
    """Mean over the numbers that change (b) of the distance between actions (b m), in units of the scale.

    The residual of locally weighted split conformal prediction (Lei et al. 2018, section 5.2).
    """
    changes = (spread > 0).float()
    return ((recovered - actions).abs() / scale * changes).sum(dim=1) / changes.sum().clamp(min=1)


def laplace_loss(recovered: Tensor, scale: Tensor, actions: Tensor, spread: Tensor) -> Tensor:
    """Mean negative log-likelihood of actions (b m) under Laplace distributions, without its constant."""
    changes = (spread > 0).float()
    losses = (recovered - actions).abs() / scale + scale.log()
    return ((losses * changes).sum(dim=1) / changes.sum().clamp(min=1)).mean()


def check_share(name: str, value: float) -> float:
    """The share ``value``; ValueError unless it lies strictly between 0 and 1."""
    if not 0 < check_finite(name, value) < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")
    return value
