"""The blocks of a U-Net, each as a configuration wants it, and stages of several."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from real2sim.vid2world.network.conditions import Conditions
from real2sim.vid2world.network.residual import ResBlock
from real2sim.vid2world.network.transformer import SpatialTransformer, TemporalTransformer
from real2sim.vid2world.network.unet_config import UNetConfig


class Stage(nn.ModuleList):
    """Blocks that run one after the other on the same conditions."""

    def forward(self, frames: Tensor, conditions: Conditions) -> Tensor:
        for block in self:
            if conditions.recompute:
                frames = checkpoint(block, frames, conditions, use_reentrant=False)
            else:
                frames = block(frames, conditions)
        return frames


def residual_block(config: UNetConfig, inputs: int, outputs: int) -> ResBlock:
    """Two convolutions in space, and those over time, from ``inputs`` to ``outputs`` channels."""
    return ResBlock(
        inputs,
        outputs,
        4 * config.model_channels,
        scale_shift=config.scale_shift_norm,
        temporal_convs=config.temporal_convs,
        kind=config.temporal_norm,
        groups=config.norm_groups,
        dropout=config.dropout,
    )


def attention_at(config: UNetConfig, channels: int, factor: int) -> list[nn.Module]:
    """The transformers of a level whose features are ``factor`` times smaller than the input; none on many levels."""
    return transformers_of(config, channels) if factor in config.attention_resolutions else []


def transformers_of(config: UNetConfig, channels: int) -> list[nn.Module]:
    """Attention over the pixels of a frame, then over time, as far as the configuration has them."""
    temporal = [temporal_transformer(config, channels, channels)] if config.temporal_attentions else []
    if not config.spatial_attention:
        return list(temporal)
    spatial = SpatialTransformer(
        channels,
        channels // config.num_head_channels,
        config.context_dim,
        image=config.image_cross_attention,
        mult=config.feed_forward_mult,
        groups=config.norm_groups,
    )
    return [spatial, *temporal]


def temporal_transformer(
    config: UNetConfig, channels: int, inner: int, *, convolution: bool = False
) -> TemporalTransformer:
    """Attention over time on ``channels`` features, ``inner`` wide."""
    return TemporalTransformer(
        channels,
        inner,
        inner // config.num_head_channels,
        attentions=config.temporal_attentions,
        mult=config.feed_forward_mult,
        kind=config.temporal_norm,
        groups=config.norm_groups,
        convolution=convolution,
    )
