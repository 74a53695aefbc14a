"""Attention over pixels, over time and over context tokens, and the layers around it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.vid2world.network.conditions import Conditions
from real2sim.vid2world.network.frame_cache import Timeline


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of ``heads`` heads over the second axis (n tokens heads*d)."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Queries, keys and values of the same tokens; no biases but the last."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))


class SpatialAttention(SelfAttention):
    """Each pixel of a frame attends to all pixels of that frame."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b*t h*w c) in and out."""
        return self.to_out(attend(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), self.heads))


class TemporalAttention(SelfAttention):
    """Each pixel attends to the same pixel of this frame and of the frames before it."""

    def forward(self, tokens: Tensor, timeline: Timeline) -> Tensor:
        """Tokens (b t h*w c) in and out."""
        q = self.to_q(tokens)
        k = timeline.join(self.to_k(tokens), keep=timeline.window - 1)
        v = timeline.join(self.to_v(tokens), keep=timeline.window - 1)
        mask = timeline.mask(k.shape[1], k.device)
        # Pixels sit beside heads: to attention over time each pixel's head is one more head,
        # and the memory layout (b t h*w c) is used as it lies.
        pixels = tokens.shape[2]
        out = attend(q.flatten(2), k.flatten(2), v.flatten(2), pixels * self.heads, mask)
        return self.to_out(out.unflatten(-1, (pixels, -1)))


class ContextAttention(nn.Module):
    """Pixels attend to text tokens and, with separate keys and values, to image tokens; the results are added."""

    def __init__(self, width: int, context: int, heads: int, *, image: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        if image:
            self.to_k_ip = nn.Linear(context, width, bias=False)
            self.to_v_ip = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, tokens: Tensor, text: Tensor, image: Tensor | None) -> Tensor:
        """Tokens (b*t h*w c) in and out; text (b l dim); image (b l dim) or (b*t l dim)."""
        q = self.to_q(tokens)
        out = self._attend(q, self.to_k(text), self.to_v(text))
        if image is not None:
            out = out + self._attend(q, self.to_k_ip(image), self.to_v_ip(image))
        return self.to_out(out)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Frames that share their keys are queries of one and the same attention.
        together = q.reshape(k.shape[0], -1, q.shape[-1])
        return attend(together, k, v, self.heads).reshape(q.shape)


class GatedGELU(nn.Module):
    """GEGLU: ``a * gelu(g)`` of the two halves of a projection (Shazeer 2020), with the exact GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        value, gate = self.proj(tokens).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Two linear layers per token, ``mult`` times as wide between them."""

    def __init__(self, width: int, mult: int) -> None:
        super().__init__()
        inner = mult * width
        self.net = nn.Sequential(GatedGELU(width, inner), nn.Identity(), nn.Linear(inner, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(tokens)


class SpatialBlock(nn.Module):
    """Attention over pixels, attention to the context if there is one, feed-forward; each after a norm."""

    def __init__(self, width: int, heads: int, context: int | None, *, image: bool, mult: int) -> None:
        super().__init__()
        self.attn1 = SpatialAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.attn2: ContextAttention | None = None
        if context is not None:
            self.attn2 = ContextAttention(width, context, heads, image=image)
            self.norm2 = nn.LayerNorm(width)
        self.ff = FeedForward(width, mult)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """Tokens (b*t h*w c) in and out."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        if self.attn2 is not None:
            assert conditions.text is not None
            tokens = tokens + self.attn2(self.norm2(tokens), conditions.text, conditions.image)
        return tokens + self.ff(self.norm3(tokens))


class TemporalBlock(nn.Module):
    """One or two layers of causal attention over time, then feed-forward; each after a norm."""

    def __init__(self, width: int, heads: int, attentions: int, mult: int) -> None:
        super().__init__()
        self.attentions = attentions
        for index in range(1, attentions + 1):
            self.add_module(f"attn{index}", TemporalAttention(width, heads))
            self.add_module(f"norm{index}", nn.LayerNorm(width))
        self.ff = FeedForward(width, mult)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, timeline: Timeline) -> Tensor:
        """Tokens (b t h*w c) in and out."""
        for index in range(1, self.attentions + 1):
            attention, norm = self.get_submodule(f"attn{index}"), self.get_submodule(f"norm{index}")
            tokens = tokens + attention(norm(tokens), timeline)
        return tokens + self.ff(self.norm3(tokens))
