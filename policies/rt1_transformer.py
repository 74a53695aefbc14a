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

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and one linear map without activation, each after a norm and with a residual."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, head_width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.feed_forward(self.norm2(x))


class Transformer(nn.Module):
    """Logits (b p v) for tokens (b p c) under a mask (p p)."""

    def __init__(
        self,
        token_width: int,
        positions: int,
        layers: int,
        width: int,
        heads: int,
        head_width: int,
        vocabulary: int,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(token_width, width)
        self.position = nn.Parameter(0.02 * torch.randn(positions, width))
        self.position_bias = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(Layer(width, heads, head_width) for _ in range(layers))
        self.output = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(tokens) + self.position[: tokens.shape[1]] + self.position_bias
        for layer in self.layers:
            x = layer(x, mask)
        return self.output(x)
