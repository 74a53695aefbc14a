"""Changes to training frames that leave the right action as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Augmentation:
    """How training frames are changed at random; by default not at all."""

    shift: int = 0
    """Frames move by up to this many pixels."""
    brightness: float = 0.0
    """Brightness changes by up to this share."""
    blur: float = 0.0
    """Half of the windows are blurred by a Gaussian of up to this many pixels."""
    noise: float = 0.0
    """Pixel noise of a standard deviation up to this share of the full range."""

    def __post_init__(self) -> None:
        if min(self.shift, self.blur, self.noise) < 0 or not 0 <= self.brightness < 1:
            raise ValueError("shift, blur and noise must not be negative, brightness lies between 0 and 1")


def augment(frames: np.ndarray, rng: np.random.Generator, how: Augmentation) -> np.ndarray:
    """Each window (t h w 3) of uint8 frames (b t h w 3) shifted, brightened, blurred and made noisy at random.

    A policy that has seen only crisp frames steers by single pixels, which a camera out of focus, or a world
    model, does not give it.
    """
    if how == Augmentation():
        return frames
    if how.shift:
        shift, (height, width) = how.shift, frames.shape[2:4]
        padded = np.pad(frames, ((0, 0), (0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
        corners = rng.integers(0, 2 * shift + 1, size=(len(frames), 2))
        frames = np.stack(
            [window[:, y : y + height, x : x + width] for window, (y, x) in zip(padded, corners, strict=True)]
        )
    changed = frames.astype(np.float32)
    per_window = (len(frames), 1, 1, 1, 1)
    if how.brightness:
        changed *= rng.uniform(1 - how.brightness, 1 + how.brightness, per_window).astype(np.float32)
    if how.blur:
        for window in changed:
            if rng.random() < 0.5:
                sigma = rng.uniform(0, how.blur)
                window[:] = gaussian_filter(window, (0, sigma, sigma, 0), mode="nearest")
    if how.noise:
        spread = rng.uniform(0, 255 * how.noise, per_window).astype(np.float32)
        changed += spread * rng.standard_normal(changed.shape, dtype=np.float32)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)
