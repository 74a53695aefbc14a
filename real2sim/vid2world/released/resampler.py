"""Image tokens for every frame of a window, read from one image by learned queries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from real2sim.checks import check_sizes


@dataclass(frozen=True)
class ResamplerConfig:
    """Sizes of the resampler; the defaults are those of the released weights."""

    width: int = 1024
    """Channels of the queries."""
    depth: int = 4
    heads: int = 12
    head_channels: int = 64
    frames: int = 16
    """Frames that get tokens of their own."""
    tokens_per_frame: int = 16
    image_width: int = 1280
    """Channels of the image tokens that are read."""
    context_width: int = 1024
    """Channels of the tokens that are given."""
    expansion: int = 4
    """Width of the hidden feed-forward layer, in multiples of ``width``."""

    def __post_init__(self) -> None:
        check_sizes(self, "width", "heads", "head_channels", "frames", "tokens_per_frame")
        check_sizes(self, "image_width", "context_width", "expansion")
        check_sizes(self, "depth", high=64)

    @classmethod
    def tiny(cls) -> ResamplerConfig:
        return cls(32, 2, 6, 8, frames=4, tokens_per_frame=4, image_width=40, context_width=24)


class PerceiverAttention(nn.Module):
    """Queries (n q width) read the image tokens (n l width) and themselves."""

    def __init__(self, width: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_channels
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Tensor, queries: Tensor) -> Tensor:
        tokens, queries = self.norm1(tokens), self.norm2(queries)
        q = self._split(self.to_q(queries))
        kv = self.to_kv(torch.cat([tokens, queries], dim=1))
        k, v = (self._split(part) for part in kv.chunk(2, dim=-1))
        # Both factors carry half of the scale, so that the product stays in range in half precision.
        scale = q.shape[-1] ** -0.25
        weights = ((q * scale) @ (k * scale).transpose(-2, -1)).float().softmax(dim=-1).to(v.dtype)
        mixed = weights @ v
        return self.to_out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Resampler(nn.Module):
    """Context tokens (b frames*tokens_per_frame context) of image tokens (b l image_width).

    The tokens of a frame lie together: token ``tokens_per_frame * frame + query``.  Parameter names are
    those of the released weights (prefix ``image_proj_model.`` there).
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        head_channels: int,
        tokens: int,
        image_width: int,
        context_width: int,
        expansion: int,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, tokens, width) * width**-0.5)
        self.proj_in = nn.Linear(image_width, width)
        self.proj_out = nn.Linear(width, context_width)
        self.norm_out = nn.LayerNorm(context_width)
        hidden = width * expansion
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PerceiverAttention(width, heads, head_channels),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, hidden, bias=False),
                        nn.GELU(),
                        nn.Linear(hidden, width, bias=False),
                    ),
                ]
            )
            for _ in range(depth)
        )

    @classmethod
    def from_config(cls, config: ResamplerConfig) -> Resampler:
        return cls(
            config.width,
            config.depth,
            config.heads,
            config.head_channels,
            config.frames * config.tokens_per_frame,
            config.image_width,
            config.context_width,
            config.expansion,
        )

    def forward(self, image_tokens: Tensor) -> Tensor:
        tokens = self.proj_in(image_tokens)
        queries = self.latents.expand(len(image_tokens), -1, -1)
        for layer in self.layers:
            queries = queries + layer[0](tokens, queries)  # type: ignore[index]
            queries = queries + layer[1](queries)  # type: ignore[index]
        return self.norm_out(self.proj_out(queries))
