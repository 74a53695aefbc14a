"""Group norm on channels-last features: of one frame, or of all frames of a pass."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.vid2world.network.frame_cache import Timeline

TemporalNorm = Literal["window", "frame"]

FEW_PIXELS = 64
"""Up to this size the library's group norm, one call instead of twenty, is faster for sampling on every device. On a
processor it is at any size, and a compiler, which makes one call of either, does better with it too."""


class _Normalise(torch.autograd.Function):
    """``(x - mean) / std * gain + bias`` with statistics over the rows and channels of a group.

    The library's own group norm is slower on channels-last features where gradients are wanted; this one is a few
    passes over contiguous memory in each direction.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        """``x`` (n rows c) with ``gain`` and ``bias`` (n c) or (1 c), all float32."""
        ctx.groups = groups
        centred, inverse = _centred(x, groups, eps)
        ctx.save_for_backward(centred, inverse, gain)
        return torch.addcmul(bias[:, None], centred, (inverse * gain)[:, None])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # type: ignore[override]
        centred, inverse, gain = ctx.saved_tensors
        rows = centred.shape[1]
        bias_grad = grad.sum(1)
        gain_grad = torch.linalg.vecdot(grad, centred, dim=1) * inverse
        along = -inverse.square() * _group_mean(gain_grad * gain, ctx.groups, rows)
        constant = -inverse * _group_mean(bias_grad * gain, ctx.groups, rows)
        x_grad = torch.addcmul(constant[:, None], centred, along[:, None])
        x_grad = x_grad.addcmul_(grad, (inverse * gain)[:, None])
        if gain.shape[0] == 1:
            gain_grad, bias_grad = gain_grad.sum(0, keepdim=True), bias_grad.sum(0, keepdim=True)
        return x_grad, gain_grad, bias_grad, None, None


def _centred(x: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """``x`` (n rows c) without its group's mean, and one over the group's deviation (n c)."""
    rows = x.shape[1]
    centred = x - _group_mean(x.sum(1), groups, rows)[:, None]
    return centred, torch.rsqrt(_group_mean(centred.square().sum(1), groups, rows) + eps)


def _group_mean(channel_sums: Tensor, groups: int, rows: int) -> Tensor:
    """Mean of each channel's group (n c), from the sums over rows (n c)."""
    grouped = channel_sums.reshape(channel_sums.shape[0], groups, -1)
    mean = grouped.sum(-1, keepdim=True) / (rows * grouped.shape[-1])
    return mean.expand_as(grouped).reshape(channel_sums.shape)


class FrameNorm(nn.GroupNorm):
    """Group norm of each frame alone: nothing passes between frames. Computed in float32."""

    def forward(self, frames: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Folded frames (b*t c h w) normalised, then times ``1 + scale`` plus ``shift`` (b*t c) if given."""
        gain, bias = self.weight.float()[None], self.bias.float()[None]
        if scale is not None and shift is not None:
            gain, bias = gain * (1 + scale), torch.addcmul(shift, bias, 1 + scale)
        return self._apply_rows(frames, frames.shape[0], gain, bias)

    def over_time(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Normalised folded frames (b*t c h w)."""
        return self(frames)

    def _apply_rows(self, frames: Tensor, samples: int, gain: Tensor, bias: Tensor) -> Tensor:
        last = frames.permute(0, 2, 3, 1)
        rows = last.reshape(samples, -1, self.num_channels).float()
        gain, bias = gain.float(), bias.float()
        out: Tensor
        if torch.is_grad_enabled():
            out = _Normalise.apply(rows, gain, bias, self.num_groups, self.eps)
        elif rows.device.type == "cpu" or rows.shape[1] <= FEW_PIXELS or torch.compiler.is_compiling():
            out = self._by_library(rows, last.shape[2], gain, bias)
        else:
            # The same without what the backward pass would need, which shows where a frame costs milliseconds.
            centred, inverse = _centred(rows, self.num_groups, self.eps)
            out = torch.addcmul(bias[:, None], centred, (inverse * gain)[:, None], out=centred)
        return out.to(frames.dtype).reshape(last.shape).permute(0, 3, 1, 2)

    def _by_library(self, rows: Tensor, width: int, gain: Tensor, bias: Tensor) -> Tensor:
        """Rows (n rows c) normalised by the library, which is quick with pictures (n c h w) laid out channels-last."""
        pictures = rows.unflatten(1, (-1, width)).permute(0, 3, 1, 2)
        if len(gain) == 1:
            normal = F.group_norm(pictures, self.num_groups, gain[0], bias[0], self.eps)
            return normal.permute(0, 2, 3, 1).flatten(1, 2)
        normal = F.group_norm(pictures, self.num_groups, eps=self.eps).permute(0, 2, 3, 1).flatten(1, 2)
        return torch.addcmul(bias[:, None], normal, gain[:, None], out=normal)


class WindowNorm(FrameNorm):
    """Group norm with statistics over all frames of the pass, as the released weights were trained.

    Later frames shift the statistics of earlier ones, so the network is not strictly causal.
    """

    def over_time(self, frames: Tensor, timeline: Timeline) -> Tensor:
        """Normalised folded frames (b*t c h w).

        With a cache, the moments of past frames are those they had when they were written; only the frames
        of this pass are normalised with the moments of both.
        """
        if timeline.cached:
            return self._with_past(frames, timeline)
        lanes = frames.shape[0] // timeline.frames
        return self._apply_rows(frames, lanes, self.weight.float()[None], self.bias.float()[None])

    def _with_past(self, frames: Tensor, timeline: Timeline) -> Tensor:
        last = frames.permute(0, 2, 3, 1)
        lanes, groups = frames.shape[0] // timeline.frames, self.num_groups
        rows = last.reshape(lanes, timeline.frames, -1, self.num_channels).float()
        spread, mean = torch.var_mean(rows.unflatten(-1, (groups, -1)), dim=(2, 4), correction=0)
        moments = timeline.join(torch.stack([mean, spread], dim=-1), keep=timeline.window - 1)
        means, spreads = moments[:, -timeline.window :].unbind(-1)
        pooled = means.mean(1)
        variance = spreads.mean(1) + (means - pooled[:, None]).square().mean(1)
        inverse = torch.rsqrt(variance + self.eps)
        gain = inverse.repeat_interleave(self.num_channels // groups, 1) * self.weight.float()
        bias = self.bias.float() - pooled.repeat_interleave(self.num_channels // groups, 1) * gain
        out = torch.addcmul(bias[:, None, None], rows, gain[:, None, None])
        return out.to(frames.dtype).reshape(last.shape).permute(0, 3, 1, 2)


class NormalisedSiLU(nn.SiLU):
    """SiLU behind a norm, whose result nothing else needs: without gradients it is changed in place."""

    def forward(self, normalised: Tensor) -> Tensor:
        return F.silu(normalised, inplace=not torch.is_grad_enabled())


def temporal_norm(kind: TemporalNorm, groups: int, channels: int, eps: float) -> FrameNorm:
    """The norm between frames that a configuration names."""
    return (FrameNorm if kind == "frame" else WindowNorm)(groups, channels, eps=eps)
