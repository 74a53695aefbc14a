"""The part that the judge's and the gate's networks share: from pictures on top of each other to one hidden vector."""

from __future__ import annotations

from torch import Tensor, nn

MAPS = 8
"""Feature maps that are left before they are flattened."""


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.net(x)
        return result


def picture_encoder(channels: int, widths: tuple[int, int, int]) -> nn.Sequential:
    """Pictures (b channels h w) to eight maps at an eighth of the size, flattened (b 8hw/64)."""
    first, second, third = widths
    return nn.Sequential(
        nn.Conv2d(channels, first, 5, stride=2, padding=2),
        nn.SiLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        Residual(second),
        nn.SiLU(),
        nn.Conv2d(second, third, 3, stride=2, padding=1),
        Residual(third),
        nn.SiLU(),
        nn.Conv2d(third, MAPS, 1),
        nn.Flatten(),
    )


def hidden_layer(image_size: tuple[int, int], hidden: int) -> nn.Sequential:
    """What an encoder of pictures of ``image_size`` gives to ``hidden`` numbers."""
    height, width = image_size
    return nn.Sequential(nn.SiLU(), nn.Linear(MAPS * -(-height // 8) * -(-width // 8), hidden), nn.SiLU())
