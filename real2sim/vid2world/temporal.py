"""Convolutions over time that look at the past only, and the layout they work in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.vid2world.frame_cache import Timeline
from real2sim.vid2world.norm import FrameNorm, TemporalNorm, temporal_norm


def tokens_of(frames: Tensor, per_lane: int) -> Tensor:
    """Folded frames (b*t c h w) as tokens (b t h*w c); a view if the frames are channels-last."""
    rows, channels, height, width = frames.shape
    return frames.permute(0, 2, 3, 1).reshape(rows // per_lane, per_lane, height * width, channels)


def frames_of(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens (b t h*w c) as folded channels-last frames (b*t c h w)."""
    lanes, per_lane, _, channels = tokens.shape
    return tokens.reshape(lanes * per_lane, height, width, channels).permute(0, 3, 1, 2)


class CausalTemporalConv(nn.Module):
    """``out[t] = w0 in[t-2] + w1 in[t-1] + w2 in[t]`` at each pixel; frames before the first are zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Never called: it holds weight and bias under their published names.
        self.conv3d = nn.Conv3d(channels, channels, (3, 1, 1))

    def forward(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Folded frames (b*t c h w) in and out."""
        height, width = frames.shape[-2:]
        present = tokens_of(frames, timeline.frames)
        joined = timeline.join(present, keep=2)
        missing = timeline.frames + 2 - joined.shape[1]
        if missing > 0:
            before = joined.new_zeros(joined.shape[0], missing, *joined.shape[2:])
            joined = torch.cat([before, joined], dim=1)
        # As a convolution over the height of an image with t rows and h*w columns, which is fast.
        out = F.conv2d(joined.permute(0, 3, 1, 2), self.conv3d.weight[..., 0], self.conv3d.bias)
        return frames_of(out.permute(0, 2, 3, 1), height, width)


class TemporalConvBlock(nn.Module):
    """A residual chain of norm, SiLU and causal convolution over time; it starts as the identity."""

    def __init__(self, channels: int, count: int, kind: TemporalNorm, groups: int, dropout: float) -> None:
        super().__init__()
        self.count = count
        for index in range(1, count + 1):
            layers: list[nn.Module] = [temporal_norm(kind, groups, channels, 1e-5), nn.SiLU()]
            if index > 1:
                layers.append(nn.Dropout(dropout))
            convolution = CausalTemporalConv(channels)
            layers.append(convolution)
            self.add_module(f"conv{index}", nn.Sequential(*layers))
        for parameter in convolution.parameters():
            nn.init.zeros_(parameter)

    def forward(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Folded frames (b*t c h w) in and out."""
        h = frames
        for index in range(1, self.count + 1):
            norm, *pointwise, convolution = self.get_submodule(f"conv{index}").children()
            assert isinstance(norm, FrameNorm)
            h = norm.over_time(h, timeline)
            for layer in pointwise:
                h = layer(h)
            h = convolution(h, timeline)
        return frames + h
