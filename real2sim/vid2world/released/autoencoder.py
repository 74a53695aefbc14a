"""Latents of frames, and back: diffusers' ``AutoencoderKL`` under the names of the released weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from real2sim.checks import check_sizes

LATENT_SCALE = 0.18215
"""Latents are multiplied by this after encoding (Rombach et al. 2022, appendix G)."""

RESNET = {"nin_shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of the autoencoder; the defaults are those of the released weights."""

    width: int = 128
    """Channels of the finest level."""
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    """Channels of each level, finest first, in multiples of ``width``; each further one halves the sides."""
    blocks: int = 2
    """Residual blocks per level."""
    latent_channels: int = 4

    def __post_init__(self) -> None:
        check_sizes(self, "width", "multipliers", "latent_channels")
        check_sizes(self, "blocks", high=64)
        if not self.multipliers:
            raise ValueError("multipliers is empty; expected one per level")

    @property
    def reduction(self) -> int:
        """Pixels per latent along each side."""
        return int(2 ** (len(self.multipliers) - 1))

    @classmethod
    def tiny(cls) -> AutoencoderConfig:
        return cls(width=32, multipliers=(1, 2), blocks=1)


def diffusers_name(name: str, levels: int) -> str:
    """Name in diffusers' ``AutoencoderKL`` of a tensor of the released weights.

    The decoder's levels are counted from the finest there and from the deepest in diffusers.
    """
    if name.startswith(("quant_conv.", "post_quant_conv.")):
        return name
    half, rest = name.split(".", 1)
    if match := re.fullmatch(r"(down|up)\.(\d+)\.block\.(\d+)\.(\w+)\.(\w+)", rest):
        side, level, block, layer, kind = match.groups()
        number = int(level) if side == "down" else levels - 1 - int(level)
        return f"{half}.{side}_blocks.{number}.resnets.{block}.{RESNET.get(layer, layer)}.{kind}"
    if match := re.fullmatch(r"down\.(\d+)\.downsample\.conv\.(\w+)", rest):
        return f"{half}.down_blocks.{match[1]}.downsamplers.0.conv.{match[2]}"
    if match := re.fullmatch(r"up\.(\d+)\.upsample\.conv\.(\w+)", rest):
        return f"{half}.up_blocks.{levels - 1 - int(match[1])}.upsamplers.0.conv.{match[2]}"
    if match := re.fullmatch(r"mid\.block_([12])\.(\w+)\.(\w+)", rest):
        return f"{half}.mid_block.resnets.{int(match[1]) - 1}.{RESNET.get(match[2], match[2])}.{match[3]}"
    if match := re.fullmatch(r"mid\.attn_1\.(\w+)\.(\w+)", rest):
        return f"{half}.mid_block.attentions.0.{ATTENTION[match[1]]}.{match[2]}"
    if match := re.fullmatch(r"norm_out\.(\w+)", rest):
        return f"{half}.conv_norm_out.{match[1]}"
    return name


def published_shapes(config: AutoencoderConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the released layout with its shape, for the given sizes."""
    c, z = config.width, config.latent_channels
    widths = [c * m for m in config.multipliers]
    deepest = widths[-1]
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, into: int, out: int, kernel: int = 3) -> None:
        shapes[f"{name}.weight"] = (out, into, kernel, kernel)
        shapes[f"{name}.bias"] = (out,)

    def norm(name: str, channels: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)

    def block(name: str, into: int, out: int) -> None:
        norm(f"{name}.norm1", into)
        convolution(f"{name}.conv1", into, out)
        norm(f"{name}.norm2", out)
        convolution(f"{name}.conv2", out, out)
        if into != out:
            convolution(f"{name}.nin_shortcut", into, out, kernel=1)

    def middle(half: str) -> None:
        block(f"{half}.mid.block_1", deepest, deepest)
        norm(f"{half}.mid.attn_1.norm", deepest)
        for part in ("q", "k", "v", "proj_out"):
            convolution(f"{half}.mid.attn_1.{part}", deepest, deepest, kernel=1)
        block(f"{half}.mid.block_2", deepest, deepest)

    convolution("encoder.conv_in", 3, c)
    current = c
    for level, width in enumerate(widths):
        for number in range(config.blocks):
            block(f"encoder.down.{level}.block.{number}", current, width)
            current = width
        if level < len(widths) - 1:
            convolution(f"encoder.down.{level}.downsample.conv", width, width)
    middle("encoder")
    norm("encoder.norm_out", deepest)
    convolution("encoder.conv_out", deepest, 2 * z)
    convolution("quant_conv", 2 * z, 2 * z, kernel=1)
    convolution("post_quant_conv", z, z, kernel=1)
    convolution("decoder.conv_in", z, deepest)
    middle("decoder")
    for level, width in reversed(list(enumerate(widths))):
        for number in range(config.blocks + 1):
            block(f"decoder.up.{level}.block.{number}", current, width)
            current = width
        if level > 0:
            convolution(f"decoder.up.{level}.upsample.conv", width, width)
    norm("decoder.norm_out", c)
    convolution("decoder.conv_out", c, 3)
    return shapes


class Autoencoder(nn.Module):
    """Scaled latents (n 4 h/8 w/8) of pixels (n 3 h w) in [-1, 1], each frame for itself, and back."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.levels = len(config.multipliers)
        self.kl = _diffusers_class()(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * self.levels,
            up_block_types=("UpDecoderBlock2D",) * self.levels,
            block_out_channels=tuple(config.width * m for m in config.multipliers),
            layers_per_block=config.blocks,
            latent_channels=config.latent_channels,
            norm_num_groups=32,
        )

    def load_published(self, tensors: Mapping[str, Tensor]) -> None:
        """Load released weights (without the prefix ``first_stage_model.``); every tensor must match."""
        expected = self.kl.state_dict()
        renamed = {diffusers_name(name, self.levels): tensor for name, tensor in tensors.items()}
        # The released attention is written as 1x1 convolutions, diffusers' as linear layers.
        fitted = {
            name: tensor.reshape(expected[name].shape)
            if name in expected and ".attentions." in name and tensor.shape[2:] == (1, 1)
            else tensor
            for name, tensor in renamed.items()
        }
        self.kl.load_state_dict(fitted, strict=True, assign=True)

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, not yet scaled."""
        distribution = self.kl.encode(pixels).latent_dist
        return distribution.mean, distribution.logvar

    def encode(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """A *sample* of the latents, as the released models were trained on, times ``LATENT_SCALE``."""
        mean, logvar = self.posterior(pixels)
        return LATENT_SCALE * (mean + torch.exp(0.5 * logvar) * noise)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels, not clamped, of scaled latents."""
        return self.kl.decode(latents / LATENT_SCALE).sample


def _diffusers_class() -> Any:
    try:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    except ImportError as error:
        raise ImportError(
            "the autoencoder of the released models needs diffusers; "
            "install it with pip install 'real2sim[vid2world]'"
        ) from error
    return AutoencoderKL
