"""The robot's state as a learned feature map, which places it in the image without camera parameters or
kinematics."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

COARSE = 8
"""Height and width of the map before it is enlarged."""


class LearnedMap(nn.Module):
    """Features (n outputs height width) of states (n numbers); zeros until it has learned something."""

    def __init__(self, numbers: int, channels: int, outputs: int) -> None:
        super().__init__()
        width = 4 * channels
        self.net = nn.Sequential(
            nn.Linear(numbers, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, channels * COARSE * COARSE),
        )
        self.out = nn.Conv2d(channels, outputs, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, states: Tensor, height: int, width: int) -> Tensor:
        coarse = self.net(states).unflatten(-1, (-1, COARSE, COARSE))
        return self.out(F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False))
