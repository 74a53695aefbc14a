"""Convolutions over time that look at the past only, and their norms."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.vid2world.frame_cache import Timeline

TemporalNorm = Literal["window", "frame"]


def tokens_of(frames: Tensor, per_lane: int) -> Tensor:
    """Folded frames (b*t c h w) as tokens (b t h*w c); a view if the frames are channels-last."""
    rows, channels, height, width = frames.shape
    return frames.permute(0, 2, 3, 1).reshape(rows // per_lane, per_lane, height * width, channels)


def frames_of(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens (b t h*w c) as folded channels-last frames (b*t c h w)."""
    lanes, per_lane, _, channels = tokens.shape
    return tokens.reshape(lanes * per_lane, height, width, channels).permute(0, 3, 1, 2)


class FrameNorm(nn.GroupNorm):
    """Group norm of each frame alone: nothing passes between frames."""

    def over_time(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Normalise folded frames (b*t c h w)."""
        return self(frames)


class WindowNorm(nn.GroupNorm):
    """Group norm with statistics over all frames of the pass, as the released weights were trained.

    Later frames shift the statistics of earlier ones, so the network is not strictly causal.
    """

    def over_time(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Normalise folded frames (b*t c h w)."""
        _, channels, height, width = frames.shape
        lanes = frames.shape[0] // timeline.frames
        # Time becomes part of the height, so that a group spans all frames of a lane.
        rows = frames.permute(0, 2, 3, 1).reshape(lanes, timeline.frames * height, width, channels)
        normal = self(rows.permute(0, 3, 1, 2))
        return normal.permute(0, 2, 3, 1).reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def temporal_norm(kind: TemporalNorm, groups: int, channels: int, eps: float) -> FrameNorm | WindowNorm:
    """The norm between frames that a configuration names."""
    return (FrameNorm if kind == "frame" else WindowNorm)(groups, channels, eps=eps)


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
            joined = F.pad(joined, (0, 0, 0, 0, missing, 0))
        taps = torch.cat([joined[:, tap : tap + timeline.frames] for tap in range(3)], dim=-1)
        weight = self.conv3d.weight[:, :, :, 0, 0].transpose(1, 2).flatten(1)
        return frames_of(F.linear(taps, weight, self.conv3d.bias), height, width)


class TemporalConvBlock(nn.Module):
    """A residual chain of norm, SiLU and causal convolution over time; it starts as the identity."""

    def __init__(self, channels: int, count: int, kind: TemporalNorm, groups: int, dropout: float) -> None:
        super().__init__()
        self.count = count
        for index in range(1, count + 1):
            layers: list[nn.Module] = [temporal_norm(kind, groups, channels, 1e-5), nn.SiLU()]
            if index > 1:
                layers.append(nn.Dropout(dropout))
            layers.append(CausalTemporalConv(channels))
            self.add_module(f"conv{index}", nn.Sequential(*layers))
        last = self.get_submodule(f"conv{count}")[-1]  # type: ignore[index]
        nn.init.zeros_(last.conv3d.weight)
        nn.init.zeros_(last.conv3d.bias)

    def forward(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Folded frames (b*t c h w) in and out."""
        h = frames
        for index in range(1, self.count + 1):
            norm, *pointwise, convolution = self.get_submodule(f"conv{index}").children()
            h = norm.over_time(h, timeline)
            for layer in pointwise:
                h = layer(h)
            h = convolution(h, timeline)
        return frames + h
