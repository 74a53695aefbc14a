"""A first stage without learned weights: frames become patches of pixels relative to a background image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PixelPatches(nn.Module):
    """Frames uint8 (b t h w 3) to latents (b c t h/p w/p) with c = 3 p^2, and back without loss.

    A fixed camera's median image is subtracted, so that what never moves is zero, and the rest is
    divided by one number, so that its spread is near 1 as diffusion expects.
    """

    background: Tensor
    scale: Tensor

    def __init__(self, height: int, width: int, patch: int) -> None:
        super().__init__()
        if height % patch or width % patch:
            raise ValueError(f"frames of {height} x {width} cannot be cut into patches of {patch} pixels")
        self.patch = patch
        self.register_buffer("background", torch.zeros(3, height, width))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, frames: np.ndarray) -> None:
        """Fit background (per-pixel median) and scale (root mean square) to frames uint8 (n h w 3)."""
        median = np.median(frames, axis=0).astype(np.float32)
        self.background.copy_(torch.from_numpy(median).permute(2, 0, 1) / 127.5 - 1)
        difference = (frames.astype(np.float32) - median) / 127.5
        self.scale.fill_(max(float(np.sqrt(np.mean(difference**2))), 1e-3))

    def encode(self, frames: Tensor) -> Tensor:
        """Latents (b c t h/p w/p) of uint8 frames (b t h w 3)."""
        lanes, times = frames.shape[:2]
        pixels = frames.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        patches = F.pixel_unshuffle((pixels - self.background) / self.scale, self.patch)
        return patches.unflatten(0, (lanes, times)).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Frames uint8 (b t h w 3) of latents (b c t h/p w/p)."""
        lanes, _, times = latents.shape[:3]
        pixels = self.pixels(latents.transpose(1, 2).flatten(0, 1))
        levels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return levels.permute(0, 2, 3, 1).unflatten(0, (lanes, times))

    def pixels(self, patches: Tensor) -> Tensor:
        """Images (n 3 h w), in [-1, 1] where they were cut from frames, of latents of single frames (n c h/p w/p)."""
        return F.pixel_shuffle(patches.float(), self.patch) * self.scale + self.background

    def clamp(self, latents: Tensor) -> Tensor:
        """Latents (b c t h/p w/p) clamped to the range of pixels."""
        low = F.pixel_unshuffle((-1 - self.background) / self.scale, self.patch)[:, None]
        high = F.pixel_unshuffle((1 - self.background) / self.scale, self.patch)[:, None]
        return torch.minimum(torch.maximum(latents, low), high)
