"""The two OpenCLIP ViT-H/14 towers that condition the world model: the caption's and the image's.

Parameter names are open_clip's, as the released checkpoints store them (prefixes ``cond_stage_model.model.``
and ``embedder.model.``).  Blocks are pre-norm: x += attention(ln_1 x); x += mlp(ln_2 x), with the exact GELU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from real2sim.checks import check_sizes

EMPTY_CAPTION = (49406, 49407)
"""Start and end token; the rest of the 77 tokens of an empty caption are zeros."""


@dataclass(frozen=True)
class TextTowerConfig:
    """Sizes of the caption encoder; the defaults are ViT-H/14's."""

    width: int = 1024
    layers: int = 24
    heads: int = 16
    tokens: int = 77
    vocabulary: int = 49408
    projection: int = 1024
    """Width of the joint image-text space, which is stored but not used here."""

    def __post_init__(self) -> None:
        check_sizes(self, "width", "heads", "tokens", "projection")
        check_sizes(self, "layers", high=256)
        check_sizes(self, "vocabulary", high=10_000_000)

    @classmethod
    def tiny(cls) -> TextTowerConfig:
        return cls(width=16, layers=3, heads=2, projection=24)


@dataclass(frozen=True)
class ImageTowerConfig:
    """Sizes of the image encoder; the defaults are ViT-H/14's."""

    width: int = 1280
    layers: int = 32
    heads: int = 16
    patch: int = 14
    """Side of a patch in pixels."""
    image: int = 224
    """Side of the image in pixels."""
    projection: int = 1024
    """Width of the joint image-text space, which is stored but not used here."""

    def __post_init__(self) -> None:
        check_sizes(self, "width", "heads", "patch", "image", "projection")
        check_sizes(self, "layers", high=256)

    @classmethod
    def tiny(cls) -> ImageTowerConfig:
        return cls(width=32, layers=3, heads=4, patch=7, image=28, projection=24)


class Attention(nn.Module):
    """Self-attention over the tokens of x (n l width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        projected = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        parts = projected.chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One transformer block on tokens (n l width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of blocks under the name ``resblocks``."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, x: Tensor, causal: bool, layers: int) -> Tensor:
        """Tokens after the first ``layers`` blocks."""
        for block in self.resblocks[:layers]:
            x = block(x, causal)
        return x


class TextTower(nn.Module):
    """Caption tokens (b 77 width) of token numbers (b 77).

    The last block is left out and ``ln_final`` follows the one before it ("penultimate").
    ``text_projection`` and ``logit_scale`` are stored in the checkpoints and not used.
    """

    def __init__(
        self, width: int, layers: int, heads: int, tokens: int, vocabulary: int, projection: int
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(tokens, width) * 0.01)
        self.transformer = Transformer(width, layers, heads)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, projection) * width**-0.5)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    @classmethod
    def from_config(cls, config: TextTowerConfig) -> TextTower:
        c = config
        return cls(c.width, c.layers, c.heads, c.tokens, c.vocabulary, c.projection)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding
        x = self.transformer(x, causal=True, layers=len(self.transformer.resblocks) - 1)
        return self.ln_final(x)

    def empty_caption(self) -> Tensor:
        """Tokens (1 77 width) of the caption "", with which the world models were trained and are used."""
        padding = (0,) * (len(self.positional_embedding) - len(EMPTY_CAPTION))
        return self(torch.tensor([EMPTY_CAPTION + padding], device=self.positional_embedding.device))


class ImageTower(nn.Module):
    """Image tokens (b 1+patches width), class token first, of prepared pixels (b 3 image image).

    All tokens after the last block are given; ``ln_post`` and ``proj`` are stored in the checkpoints
    and not used.  Pixels are prepared by :func:`real2sim.vid2world.released.conditioning_image.prepare_image`.
    """

    def __init__(self, width: int, layers: int, heads: int, patch: int, image: int, projection: int) -> None:
        super().__init__()
        scale = width**-0.5
        self.class_embedding = nn.Parameter(torch.randn(width) * scale)
        self.positional_embedding = nn.Parameter(torch.randn((image // patch) ** 2 + 1, width) * scale)
        self.proj = nn.Parameter(torch.randn(width, projection) * scale)
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads)
        self.ln_post = nn.LayerNorm(width)

    @classmethod
    def from_config(cls, config: ImageTowerConfig) -> ImageTower:
        return cls(config.width, config.layers, config.heads, config.patch, config.image, config.projection)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pixels), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        return self.transformer(x, causal=False, layers=len(self.transformer.resblocks))
