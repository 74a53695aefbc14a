"""Transformers over the pixels of a frame and over the frames of a pixel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.vid2world.network.attention import SpatialBlock, TemporalBlock
from real2sim.vid2world.network.conditions import Conditions
from real2sim.vid2world.network.norm import FrameNorm, TemporalNorm, temporal_norm
from real2sim.vid2world.network.temporal import frames_of, tokens_of


def zero(module: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
    """Start a layer at zero, so that the branch it ends adds nothing at first."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class PixelwiseConv(nn.Conv1d):
    """A linear layer on tokens whose weight is stored as that of a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(tokens, self.weight[:, :, 0], self.bias)


class SpatialTransformer(nn.Module):
    """Attention within each frame, and from each frame to the context."""

    def __init__(
        self, channels: int, heads: int, context: int | None, *, image: bool, mult: int, groups: int
    ) -> None:
        super().__init__()
        self.norm = FrameNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        block = SpatialBlock(channels, heads, context, image=image, mult=mult)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Linear(channels, channels)
        zero(self.proj_out)

    def forward(self, frames: Tensor, conditions: Conditions) -> Tensor:
        """Folded frames (b*t c h w) in and out."""
        height, width = frames.shape[-2:]
        tokens = self.proj_in(tokens_of(self.norm(frames), 1).squeeze(1))
        for block in self.transformer_blocks:
            tokens = block(tokens, conditions)
        return frames + frames_of(self.proj_out(tokens).unsqueeze(1), height, width)


class TemporalTransformer(nn.Module):
    """Attention of each pixel to itself in earlier frames.

    There is no position in it: order is known from the causal mask and the temporal convolutions only.
    """

    def __init__(
        self,
        channels: int,
        inner: int,
        heads: int,
        *,
        attentions: int,
        mult: int,
        kind: TemporalNorm,
        groups: int,
        convolution: bool = False,
    ) -> None:
        """``convolution`` stores the projections as 1x1 convolutions, as the one at the entrance does."""
        super().__init__()
        self.norm = temporal_norm(kind, groups, channels, 1e-6)
        projection = PixelwiseConv if convolution else nn.Linear
        self.proj_in = projection(channels, inner)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(inner, heads, attentions, mult)])
        self.proj_out = projection(inner, channels)
        zero(self.proj_out)

    def forward(self, frames: Tensor, conditions: Conditions) -> Tensor:
        """Folded frames (b*t c h w) in and out."""
        height, width = frames.shape[-2:]
        timeline = conditions.timeline
        tokens = self.proj_in(tokens_of(self.norm.over_time(frames, timeline), timeline.frames))
        for block in self.transformer_blocks:
            tokens = block(tokens, timeline)
        return frames + frames_of(self.proj_out(tokens), height, width)
