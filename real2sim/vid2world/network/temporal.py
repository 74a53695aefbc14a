"""Causal convolutions over time, and the memory layout they work in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.vid2world.network.frame_cache import Timeline
from real2sim.vid2world.network.norm import FrameNorm, NormalisedSiLU, TemporalNorm, temporal_norm


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
        out = self._after_past(present, timeline) if timeline.cached else self._whole(present)
        return frames_of(out, height, width)

    def _whole(self, present: Tensor) -> Tensor:
        """All frames of a lane at once (b t h*w c)."""
        # As a convolution over the height of an image with t rows and h*w columns, which is fast.
        rows = F.pad(present, (0, 0, 0, 0, 2, 0)).permute(0, 3, 1, 2)
        return F.conv2d(rows, self.conv3d.weight[..., 0], self.conv3d.bias).permute(0, 2, 3, 1)

    def _after_past(self, present: Tensor, timeline: Timeline) -> Tensor:
        """The frames of this pass (b t h*w c) after those in the cache.

        What is kept of past frames is what they add to the next two, so each frame meets each weight once.
        """
        lanes, frames, *rest = present.shape
        taps = self.conv3d.weight[..., 0, 0].permute(2, 0, 1)
        past = timeline.recall()
        if past is None:
            past = present.new_zeros(lanes, 2, *rest)
        out = F.linear(present, taps[2], self.conv3d.bias)
        out[:, :2] += past[:, :frames]
        seen = timeline.remembered
        echoing = max(seen, frames - 1)
        if echoing:
            two_on, one_on = F.linear(present[:, :echoing], taps[:2].flatten(0, 1)).chunk(2, dim=-1)
            out[:, 1:] += one_on[:, : frames - 1]
            out[:, 2:] += two_on[:, : frames - 2]
        if seen:
            before = two_on[:, seen - 2] if seen > 1 else past[:, 1]
            past = torch.stack([one_on[:, seen - 1] + before, two_on[:, seen - 1]], dim=1)
        timeline.keep(past)
        return out


class TemporalConvBlock(nn.Module):
    """A residual chain of norm, SiLU and causal convolution over time; it starts as the identity."""

    def __init__(self, channels: int, count: int, kind: TemporalNorm, groups: int, dropout: float) -> None:
        super().__init__()
        self.count = count
        for index in range(1, count + 1):
            layers: list[nn.Module] = [temporal_norm(kind, groups, channels, 1e-5), NormalisedSiLU()]
            if index > 1:
                layers.append(nn.Dropout(dropout))
            convolution = CausalTemporalConv(channels)
            layers.append(convolution)
            self.add_module(f"conv{index}", nn.Sequential(*layers))
        if count:
            for parameter in convolution.parameters():
                nn.init.zeros_(parameter)

    def forward(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Folded frames (b*t c h w) in and out."""
        if not self.count:
            return frames
        h = frames
        for index in range(1, self.count + 1):
            norm, *pointwise, convolution = self.get_submodule(f"conv{index}").children()
            assert isinstance(norm, FrameNorm)
            h = norm.over_time(h, timeline)
            for layer in pointwise:
                h = layer(h)
            h = convolution(h, timeline)
        return frames + h
