"""Everything that describes a released Vid2World model, and how frames are drawn with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from real2sim.checks import check_finite, check_sizes
from real2sim.vid2world.network.unet_config import UNetConfig
from real2sim.vid2world.released.autoencoder import AutoencoderConfig
from real2sim.vid2world.released.clip import ImageTowerConfig, TextTowerConfig
from real2sim.vid2world.released.resampler import ResamplerConfig
from real2sim.vid2world.released.sampler import SamplerConfig

LARGEST_SCALE = 1e9
"""Of an action's number; beyond it a frame is not finite."""


@dataclass(frozen=True)
class Vid2WorldConfig:
    """Sizes of all parts of a released model; the defaults are the RT-1 model's."""

    unet: UNetConfig = field(default_factory=UNetConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    text: TextTowerConfig = field(default_factory=TextTowerConfig)
    image: ImageTowerConfig = field(default_factory=ImageTowerConfig)
    resampler: ResamplerConfig = field(default_factory=ResamplerConfig)
    image_size: tuple[int, int] = (256, 320)
    """Height and width of the camera frames that go in and come out."""
    picture_size: tuple[int, int] = (320, 512)
    """Height and width of the model's picture, into which camera frames are fitted with black bars."""
    action_scale: tuple[float, ...] = ()
    """Factor on each number of an action; empty leaves them as they are, as in the published models."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig.reference)
    history: int = 15
    """Past frames that the model looks at; its window holds one frame more."""
    clamp_history: bool = True
    """Clamp drawn frames to [-1, 1] before they become history; published long rollouts of the game model do not."""

    def __post_init__(self) -> None:
        check_sizes(self, "image_size", "picture_size", high=16_384)
        for scale in self.action_scale:
            check_finite("action_scale", scale, -LARGEST_SCALE, LARGEST_SCALE)
        multiple = self.autoencoder.reduction * 2 ** (len(self.unet.channel_mult) - 1)
        if any(side % multiple for side in self.picture_size):
            raise ValueError(
                f"picture_size is {self.picture_size[0]} x {self.picture_size[1]}; autoencoder and U-Net halve "
                f"pictures and need multiples of {multiple}"
            )
        latents = self.autoencoder.latent_channels
        unet, resampler = self.unet, self.resampler
        agreements = (
            ("input channels of the U-Net", unet.in_channels, "twice the latent channels", 2 * latents),
            ("output channels of the U-Net", unet.out_channels, "the latent channels", latents),
            ("context width of the U-Net", unet.context_dim, "the caption's width", self.text.width),
            ("context width of the U-Net", unet.context_dim, "the resampler's", resampler.context_width),
            ("image width of the resampler", resampler.image_width, "the image tower's", self.image.width),
            ("text tokens of the U-Net", unet.text_tokens, "the caption's", self.text.tokens),
            ("image tokens", unet.image_tokens_per_frame, "the resampler's", resampler.tokens_per_frame),
        )
        for name, found, other, expected in agreements:
            if found != expected:
                raise ValueError(
                    f"the {name} ({found}) must equal {other} ({expected}); do all parts belong together?"
                )
        if self.action_scale and len(self.action_scale) != self.unet.action_dim:
            raise ValueError(
                f"action_scale has {len(self.action_scale)} numbers, the U-Net takes actions of {self.unet.action_dim}"
            )
        if not 1 <= self.history < self.unet.window:
            raise ValueError(
                f"history must be 1 to {self.unet.window - 1} frames for a window of {self.unet.window}, "
                f"got {self.history}"
            )

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one frame's latent."""
        factor = self.autoencoder.reduction
        return (
            self.autoencoder.latent_channels,
            self.picture_size[0] // factor,
            self.picture_size[1] // factor,
        )

    @classmethod
    def tiny(cls) -> Vid2WorldConfig:
        """Every part at toy size: camera frames of 24 x 32 pixels, pictures of 32 x 48."""
        return cls(
            unet=replace(UNetConfig.tiny(), context_dim=16, norm_groups=32, model_channels=32, window=16),
            autoencoder=AutoencoderConfig.tiny(),
            text=TextTowerConfig.tiny(),
            image=ImageTowerConfig.tiny(),
            resampler=ResamplerConfig(32, 1, 2, 8, image_width=32, context_width=16),
            image_size=(24, 32),
            picture_size=(32, 48),
            sampler=SamplerConfig.reference(steps=3),
            history=3,
        )
