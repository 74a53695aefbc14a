"""Everything a small world model is: its network, its first stage, how it was taught and how a frame is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from real2sim.actions import WIDTH
from real2sim.checks import check_finite, check_sizes
from real2sim.vid2world.network.unet_config import UNetConfig


@dataclass(frozen=True)
class WorldModelConfig:
    """A pixel-space world model; the network is Vid2World's, the first stage are patches of pixels."""

    unet: UNetConfig
    height: int = 64
    """Of a frame, pixels."""
    width: int = 64
    patch: int = 4
    """Side of the squares of pixels that become the channels of the network's input."""
    prediction: Literal["x0", "v"] = "x0"
    """What the network predicts: the clean frame, or the velocity of the released weights."""
    action_scale: tuple[float, ...] = (1.0,) * WIDTH
    """Factor on each of the 13 action numbers; 0 where the robot has no such part."""
    steps: int = 1
    """Denoising steps per frame."""
    spacing: Literal["uniform_trailing", "uniform"] = "uniform_trailing"
    """Which of the 1000 diffusion steps a drawing visits; ``"uniform"`` does not begin at pure noise."""
    eta: float = 0.0
    """Share of fresh noise in each denoising step (DDIM's eta)."""
    guidance: float = 1.0
    """Weight of the newest action (Ho & Salimans 2022); 1 leaves the prediction as it is and needs half the
    passes."""
    context_level: int = 20
    """Diffusion step (of 1000) whose noise finished frames carry as history."""

    def __post_init__(self) -> None:
        check_sizes(self, "height", "width", "patch", high=16_384)
        for scale in self.action_scale:
            check_finite("action_scale", scale)
        check_finite("guidance", self.guidance)
        channels = 3 * self.patch**2
        if self.unet.in_channels != 2 * channels or self.unet.out_channels != channels:
            raise ValueError(
                f"patches of {self.patch} x {self.patch} pixels need a U-Net with {2 * channels} channels in and "
                f"{channels} out, this one has {self.unet.in_channels} and {self.unet.out_channels}"
            )
        if self.unet.temporal_norm != "frame":
            raise ValueError(f'the world model needs temporal_norm="frame", got {self.unet.temporal_norm!r}')
        if len(self.action_scale) != WIDTH:
            raise ValueError(f"action_scale has {len(self.action_scale)} numbers, expected {WIDTH}")
        if self.prediction not in ("x0", "v"):
            raise ValueError(f'prediction must be "x0" or "v", got {self.prediction!r}')
        if not 1 <= self.steps <= 50:
            raise ValueError(f"steps must be between 1 and 50, got {self.steps}")
        if self.spacing not in ("uniform_trailing", "uniform"):
            raise ValueError(f'spacing must be "uniform_trailing" or "uniform", got {self.spacing!r}')
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {self.eta}")
        if not 0 <= self.context_level < 999:
            raise ValueError(f"context_level must be between 0 and 998, got {self.context_level}")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a frame, pixels."""
        return self.height, self.width

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one frame's latent."""
        return 3 * self.patch**2, self.height // self.patch, self.width // self.patch

    @classmethod
    def drawer(cls) -> WorldModelConfig:
        """The world model of the built-in drawer suite."""
        scale = [0.0] * WIDTH
        scale[3] = 1.0
        scale[10:13] = [1 / 0.06] * 3
        unet = replace(UNetConfig.small(), model_channels=48, window=12)
        return cls(unet=unet, action_scale=tuple(scale))

    @classmethod
    def tiny(cls) -> WorldModelConfig:
        """The same classes at toy size: 16 x 16 pixels, some thousand weights."""
        unet = replace(
            UNetConfig.small(height=4, width=4),
            model_channels=16,
            channel_mult=(1, 1),
            attention_resolutions=(2,),
            num_head_channels=8,
            norm_groups=4,
            window=4,
        )
        return cls(unet=unet, height=16, width=16)
