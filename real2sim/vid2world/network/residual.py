"""Residual blocks of the U-Net and the convolutions between its levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.vid2world.network.conditions import Conditions
from real2sim.vid2world.network.norm import FrameNorm, NormalisedSiLU, TemporalNorm
from real2sim.vid2world.network.temporal import TemporalConvBlock
from real2sim.vid2world.network.transformer import zero


class ResBlock(nn.Module):
    """Two convolutions within each frame, conditioned on the embedding, then convolutions over time."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        *,
        scale_shift: bool,
        temporal_convs: int,
        kind: TemporalNorm,
        groups: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.in_layers = nn.Sequential(
            FrameNorm(groups, inputs, eps=1e-5), NormalisedSiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        scale_and_shift = 2 * outputs if scale_shift else outputs
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, scale_and_shift))
        last = nn.Conv2d(outputs, outputs, 3, padding=1)
        zero(last)
        self.out_layers = nn.Sequential(
            FrameNorm(groups, outputs, eps=1e-5), NormalisedSiLU(), nn.Dropout(dropout), last
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        # The published checkpoints spell it so.
        self.temopral_conv = TemporalConvBlock(outputs, temporal_convs, kind, groups, dropout)

    def forward(self, frames: Tensor, conditions: Conditions) -> Tensor:
        """Folded frames (b*t c h w) in and out."""
        h = self.in_layers(frames)
        scale_and_shift = self.emb_layers(conditions.embedding)
        norm, silu, dropout, convolution = self.out_layers
        h = (
            norm(h, *scale_and_shift.chunk(2, dim=1))
            if self.scale_shift
            else norm(h + scale_and_shift[:, :, None, None])
        )
        h = convolution(dropout(silu(h)))
        return self.temopral_conv(added(h, self.skip_connection(frames)), conditions.timeline)


class Downsample(nn.Module):
    """Half the resolution by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, frames: Tensor, conditions: Conditions) -> Tensor:
        return self.op(frames)


class Upsample(nn.Module):
    """Twice the resolution by repeating pixels, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self._transposed: tuple[Tensor, int, Tensor] | None = None

    def forward(self, frames: Tensor, conditions: Conditions) -> Tensor:
        weight = self.conv.weight
        if (
            torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or weight.device.type != "cpu"
            or weight.dtype != torch.float32
            or weight.is_inference()
        ):
            return self.conv(F.interpolate(frames, scale_factor=2.0, mode="nearest"))
        return F.conv_transpose2d(frames, self._both(), self.conv.bias, stride=2, padding=1)

    def _both(self) -> Tensor:
        """Weights (in out 4 4) of one transposed convolution that repeats pixels and convolves, in 4/9 of the products.

        Each new pixel sees two old ones per direction: weights that meet the same one are added, once for all calls.
        """
        weight = self.conv.weight
        if self._transposed is not None:
            # The old weights are held on to, so new ones cannot lie where they lay.
            old, version, both = self._transposed
            if old.data_ptr() == weight.data_ptr() and version == weight._version:
                return both
        taps = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        both = torch.einsum("ih,jw,ochw->coij", taps, taps, weight.detach()).contiguous()
        self._transposed = weight.detach(), weight._version, both
        return both


class HeightCausalConv(nn.Module):
    """A 3x3 convolution that sees its own row and the two above.

    The released model applies its causal convolution to single frames here, so that the axis
    meant to be time is the height of the image; its weights were fine-tuned that way.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(inputs, outputs, 3)

    def forward(self, frames: Tensor) -> Tensor:
        return self.conv2d(F.pad(frames, (1, 1, 2, 0)))


def added(h: Tensor, other: Tensor) -> Tensor:
    """``h + other``, written into ``h``, which nothing else needs, where no gradient needs it either."""
    return h + other if torch.is_grad_enabled() else h.add_(other)
