"""RT-1's causal transformer over image and action tokens (Brohan et al. 2022, section 5.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attention_mask(frames: int, image_tokens: int, action_tokens: int) -> Tensor:
    """Which position (row) may look at which (column), bool: the past, but never an action token.

    Positions are, frame by frame, the image tokens and then the action tokens.  As published, an action
    position sees no action position, not even itself; so one pass gives all tokens of an action.
    """
    per_frame = image_tokens + action_tokens
    position = torch.arange(frames * per_frame)
    causal = position[:, None] >= position[None, :]
    is_action = position % per_frame >= image_tokens
    return causal & ~(is_action[:, None] & is_action[None, :])


class Attention(nn.Module):
    """Multi-head attention whose heads need not fill the width of the model (b p c -> b p c)."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, heads * head_width)
        self.key = nn.Linear(width, heads * head_width)
        self.value = nn.Linear(width, heads * head_width)
        self.output = nn.Linear(heads * head_width, width)
        # Equal at first: a position then attends to positions like itself, and so to its own frame. Without
        # this a small network spends most of a short training on finding out where to look.
        nn.init.xavier_uniform_(self.query.weight)
        with torch.no_grad():
            self.key.weight.copy_(self.query.weight)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a feed-forward part, each after a norm and with a residual.

    With ``hidden`` 0 the feed-forward part is one linear map without activation, as published.
    """

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, head_width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward: nn.Module = nn.Linear(width, width)
        if hidden:
            self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.feed_forward(self.norm2(x))


class Transformer(nn.Module):
    """Logits (b p v) for tokens (b p c) of ``frames`` frames under a mask (p p)."""

    def __init__(
        self,
        token_width: int,
        frames: int,
        per_frame: int,
        layers: int,
        width: int,
        heads: int,
        head_width: int,
        hidden: int,
        vocabulary: int,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(token_width, width)
        nn.init.zeros_(self.embed.bias)
        # A part that the positions of a frame share and a part that equal places of all frames share.
        position = torch.randn(frames, 1, width) + torch.randn(1, per_frame, width)
        self.position = nn.Parameter(0.1 * position.flatten(0, 1))
        self.position_bias = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(Layer(width, heads, head_width, hidden) for _ in range(layers))
        self.output = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(tokens) + self.position[: tokens.shape[1]] + self.position_bias
        for layer in self.layers:
            x = layer(x, mask)
        return self.output(x)
