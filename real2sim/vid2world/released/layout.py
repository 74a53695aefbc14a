"""Names and shapes of the tensors in a published checkpoint, and the sizes that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from real2sim.vid2world.network.unet import INIT_ATTENTION_HEADS, CausalUNet
from real2sim.vid2world.network.unet_config import UNetConfig
from real2sim.vid2world.released.autoencoder import AutoencoderConfig, published_shapes
from real2sim.vid2world.released.clip import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.convert import HeadChannels
from real2sim.vid2world.released.resampler import Resampler, ResamplerConfig

Shapes = Mapping[str, tuple[int, ...]]

UNET = "model.diffusion_model."
AUTOENCODER = "first_stage_model."
TEXT = "cond_stage_model.model."
IMAGE = "embedder.model."
IMAGE_TOWER = "embedder.model.visual."
RESAMPLER = "image_proj_model."

SCHEDULE_BUFFERS = frozenset(
    (
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "scale_arr",
    )
)
"""The noise schedule, which is computed here and not read."""

DIFFUSION_STEPS, RESCALE_STEPS = 1000, 1400


def shapes_of(module: nn.Module, prefix: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of a module with its shape, under a prefix."""
    return {prefix + name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def published_layout(config: Vid2WorldConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a published checkpoint of these sizes: 2526 for the RT-1 model."""
    with torch.device("meta"):
        text = shapes_of(TextTower.from_config(config.text), "")
        layout = {
            **shapes_of(CausalUNet(config.unet), UNET),
            **shapes_of(ImageTower.from_config(config.image), IMAGE_TOWER),
            **shapes_of(Resampler.from_config(config.resampler), RESAMPLER),
        }
    layout |= {TEXT + name: shape for name, shape in text.items()}
    # The image encoder was saved with the outer parts of its text tower, which nothing reads.
    layout |= {IMAGE + name: shape for name, shape in text.items() if not name.startswith("transformer.")}
    layout |= {AUTOENCODER + name: shape for name, shape in published_shapes(config.autoencoder).items()}
    layout |= dict.fromkeys(SCHEDULE_BUFFERS, (DIFFUSION_STEPS,))
    layout["scale_arr"] = (RESCALE_STEPS,)
    return layout


def config_of(shapes: Shapes, where: str, heads: HeadChannels) -> Vid2WorldConfig:
    """The configuration that the shapes of a causal model's tensors ask for.

    Raises ValueError with one sentence if a tensor that tells a size is missing, or sizes contradict each other.
    """
    try:
        return _config(_Sizes(shapes, where), heads)
    except ValueError as error:
        sentence = str(error)
        if sentence.startswith(where):
            raise
        if sentence.endswith("?"):
            raise ValueError(f"{where}: {sentence}") from error
        raise ValueError(
            f"{where}: the shapes of its tensors ask for a model that cannot be: {sentence}; is this another "
            "architecture, or a damaged checkpoint?"
        ) from error


def _config(sizes: _Sizes, heads: HeadChannels) -> Vid2WorldConfig:
    unet = _unet_config(sizes)
    text = _text_config(sizes, heads.text)
    image = _image_config(sizes, heads.image)
    resampler = _resampler_config(sizes, heads.resampler, unet.window)
    autoencoder = _autoencoder_config(sizes)
    tokens = replace(unet, text_tokens=text.tokens, image_tokens_per_frame=resampler.tokens_per_frame)
    return Vid2WorldConfig(tokens, autoencoder, text, image, resampler)


class _Sizes:
    """Looks sizes up in shapes and says in one sentence what it does not find."""

    def __init__(self, shapes: Shapes, where: str) -> None:
        self.shapes = shapes
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def size(self, name: str, axis: int) -> int:
        shape = self.shapes.get(name)
        if shape is None:
            raise ValueError(f"{self.where}: tensor {name!r} is missing; is this a complete checkpoint?")
        if axis >= len(shape):
            raise ValueError(f"{self.where}: tensor {name!r} has shape {shape}, expected more dimensions")
        if shape[axis] < 1:
            raise ValueError(f"{self.where}: tensor {name!r} has shape {shape}, it is empty")
        return shape[axis]

    def count(self, pattern: str) -> int:
        """One more than the largest number that the pattern's group finds; each needs a tensor of its own."""
        found = {match[1]: name for name in self.shapes if (match := re.match(pattern, name))}
        for number, name in found.items():
            if len(number) > 9 or int(number) >= len(self.shapes):
                shown = name if len(name) <= 200 else f"{name[:197]}..."
                raise ValueError(
                    f"{self.where}: tensor {shown!r} has a number beyond the {len(self.shapes)} tensors that there "
                    "are; is this another architecture?"
                )
        return max(map(int, found), default=-1) + 1

    def heads(self, name: str, width: int, channels: int, option: str) -> int:
        if width % channels:
            raise ValueError(
                f"{self.where}: {name} is {width} channels wide, no multiple of {channels} per head; "
                f"name the right number with {option}"
            )
        return width // channels


def _unet_config(sizes: _Sizes) -> UNetConfig:
    base = UNetConfig()
    channels = sizes.size(f"{UNET}time_embed.0.weight", 1)
    discrete = f"{UNET}action_emb_preprocess.weight" in sizes
    actions = (
        sizes.size(f"{UNET}action_emb_preprocess.weight", 0)
        if discrete
        else sizes.size(f"{UNET}action_emb_proj.0.weight", 1)
    )
    if channels == base.model_channels:
        return replace(base, action_dim=actions, discrete_actions=discrete)
    widths, attention, blocks = _levels(sizes)
    head_channels = sizes.size(f"{UNET}init_attn.0.proj_in.weight", 0) // INIT_ATTENTION_HEADS
    return replace(
        base,
        in_channels=sizes.size(f"{UNET}input_blocks.0.0.weight", 1),
        out_channels=sizes.size(f"{UNET}out.2.conv2d.weight", 0),
        model_channels=channels,
        channel_mult=tuple(width // channels for width in widths),
        num_res_blocks=blocks,
        attention_resolutions=attention,
        num_head_channels=head_channels,
        context_dim=sizes.size(f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight", 1),
        action_dim=actions,
        discrete_actions=discrete,
    )


def _levels(sizes: _Sizes) -> tuple[list[int], tuple[int, ...], int]:
    """Width of each level, the downsampling factors with attention, and the residual blocks per level."""
    widths: list[int] = []
    attention: list[int] = []
    blocks: list[int] = [0]
    for number in range(1, sizes.count(rf"{re.escape(UNET)}input_blocks\.(\d+)\.")):
        stage = f"{UNET}input_blocks.{number}"
        if f"{stage}.0.op.weight" in sizes:
            blocks.append(0)
            continue
        if blocks[-1] == 0:
            widths.append(sizes.size(f"{stage}.0.in_layers.2.weight", 0))
            if f"{stage}.1.proj_in.weight" in sizes:
                attention.append(2 ** (len(blocks) - 1))
        blocks[-1] += 1
    return widths, tuple(attention), blocks[0]


def _autoencoder_config(sizes: _Sizes) -> AutoencoderConfig:
    base = AutoencoderConfig()
    width = sizes.size(f"{AUTOENCODER}encoder.conv_in.weight", 0)
    if width == base.width:
        return base
    levels = sizes.count(rf"{AUTOENCODER}encoder\.down\.(\d+)\.")
    widths = [sizes.size(f"{AUTOENCODER}encoder.down.{i}.block.0.conv1.weight", 0) for i in range(levels)]
    return AutoencoderConfig(
        width=width,
        multipliers=tuple(size // width for size in widths),
        blocks=sizes.count(rf"{AUTOENCODER}encoder\.down\.0\.block\.(\d+)\."),
        latent_channels=sizes.size(f"{AUTOENCODER}post_quant_conv.weight", 0),
    )


def _text_config(sizes: _Sizes, head_channels: int) -> TextTowerConfig:
    base = TextTowerConfig()
    width = sizes.size(f"{TEXT}token_embedding.weight", 1)
    if width == base.width:
        return base
    return TextTowerConfig(
        width=width,
        layers=sizes.count(rf"{re.escape(TEXT)}transformer\.resblocks\.(\d+)\."),
        heads=sizes.heads("the caption encoder", width, head_channels, "--heads.text"),
        tokens=sizes.size(f"{TEXT}positional_embedding", 0),
        vocabulary=sizes.size(f"{TEXT}token_embedding.weight", 0),
        projection=sizes.size(f"{TEXT}text_projection", 1),
    )


def _image_config(sizes: _Sizes, head_channels: int) -> ImageTowerConfig:
    base = ImageTowerConfig()
    width = sizes.size(f"{IMAGE_TOWER}class_embedding", 0)
    if width == base.width:
        return base
    patch = sizes.size(f"{IMAGE_TOWER}conv1.weight", 2)
    patches = sizes.size(f"{IMAGE_TOWER}positional_embedding", 0) - 1
    return ImageTowerConfig(
        width=width,
        layers=sizes.count(rf"{re.escape(IMAGE_TOWER)}transformer\.resblocks\.(\d+)\."),
        heads=sizes.heads("the image encoder", width, head_channels, "--heads.image"),
        patch=patch,
        image=round(patches**0.5) * patch,
        projection=sizes.size(f"{IMAGE_TOWER}proj", 1),
    )


def _resampler_config(sizes: _Sizes, head_channels: int, frames: int) -> ResamplerConfig:
    base = ResamplerConfig()
    width = sizes.size(f"{RESAMPLER}latents", 2)
    if width == base.width:
        return replace(base, frames=sizes.size(f"{RESAMPLER}latents", 1) // base.tokens_per_frame)
    inner = sizes.size(f"{RESAMPLER}layers.0.0.to_q.weight", 0)
    return ResamplerConfig(
        width=width,
        depth=sizes.count(rf"{RESAMPLER}layers\.(\d+)\."),
        heads=sizes.heads("the resampler's attention", inner, head_channels, "--heads.resampler"),
        head_channels=head_channels,
        frames=frames,
        tokens_per_frame=sizes.size(f"{RESAMPLER}latents", 1) // frames,
        image_width=sizes.size(f"{RESAMPLER}proj_in.weight", 1),
        context_width=sizes.size(f"{RESAMPLER}proj_out.weight", 0),
        expansion=sizes.size(f"{RESAMPLER}layers.0.1.1.weight", 0) // width,
    )
