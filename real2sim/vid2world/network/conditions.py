"""Conditions of a pass of the U-Net."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from real2sim.vid2world.network.frame_cache import Timeline
from real2sim.vid2world.network.unet_config import UNetConfig


@dataclass(frozen=True)
class Conditions:
    """Conditions that every block of the U-Net is given."""

    embedding: Tensor
    """One vector per frame (b*t width)."""
    timeline: Timeline
    text: Tensor | None = None
    """Tokens shared by all frames of a lane (b tokens dim)."""
    image: Tensor | None = None
    """Tokens of a lane (b tokens dim) or of each frame (b*t tokens dim)."""
    recompute: bool = False
    """Recompute the activations of a block in the backward pass instead of storing them."""


def split_context(
    config: UNetConfig, context: Tensor | None, lanes: int, frames: int, per_frame: bool | None
) -> tuple[Tensor | None, Tensor | None]:
    """Text and image tokens of a context (b tokens dim); see ``CausalUNet.forward``.

    Raises ValueError if the network attends to tokens and there are none, or not enough for each frame.
    """
    if config.context_dim is None:
        return None, None
    if context is None:
        raise ValueError("this model attends to tokens; pass them as context (b tokens dim)")
    if not config.image_cross_attention:
        return context, None
    text, image = context[:, : config.text_tokens], context[:, config.text_tokens :]
    own = config.image_tokens_per_frame
    if per_frame is None:
        per_frame = image.shape[1] == own * frames
    if per_frame:
        if image.shape[1] != own * frames:
            raise ValueError(f"expected {own} image tokens for each of {frames} frames, got {image.shape[1]}")
        image = image.reshape(lanes * frames, own, -1)
    return text, image
