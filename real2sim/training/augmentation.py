"""Changes to training frames that leave the right action as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from real2sim.checks import check_finite, check_whole

MOST_PIXELS = 1000
"""Pixels by which frames may be moved or blurred; memory and time grow with them."""


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
    contrast: float = 0.0
    """Distance of every pixel from the window's mean grey changes by up to this share."""
    saturation: float = 0.0
    """Distance of every pixel from its own grey changes by up to this share."""
    hue: float = 0.0
    """Colours turn by up to this share of the colour circle."""

    def __post_init__(self) -> None:
        check_whole("shift", self.shift, 0, MOST_PIXELS)
        bounds = {"blur": MOST_PIXELS, "noise": 1, "contrast": 1, "saturation": 1, "hue": 0.5}
        for name, most in bounds.items():
            check_finite(name, getattr(self, name), 0, most)
        if not 0 <= self.brightness < 1:
            raise ValueError(f"brightness lies between 0 and 1, got {self.brightness}")


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
    if how.contrast or how.saturation or how.hue:
        changed = _colours(changed, rng, how)
    if how.blur:
        for window in changed:
            if rng.random() < 0.5:
                sigma = rng.uniform(0, how.blur)
                window[:] = gaussian_filter(window, (0, sigma, sigma, 0), mode="nearest")
    if how.noise:
        spread = rng.uniform(0, 255 * how.noise, per_window).astype(np.float32)
        changed += spread * rng.standard_normal(changed.shape, dtype=np.float32)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Grey of red, green and blue (ITU-R BT.601)."""
TO_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32)
"""Luma and two colour differences (NTSC's YIQ); hue is an angle in their plane."""


def _colours(frames: np.ndarray, rng: np.random.Generator, how: Augmentation) -> np.ndarray:
    """Float frames (b t h w 3), each window with a contrast, a saturation and a hue of its own."""
    factors = (len(frames), 1, 1, 1, 1)
    if how.contrast:
        middle = (frames @ LUMA).mean(axis=(1, 2, 3)).reshape(factors)
        frames = middle + (frames - middle) * _factor(rng, how.contrast, factors)
    if how.saturation:
        grey = (frames @ LUMA)[..., None]
        frames = grey + (frames - grey) * _factor(rng, how.saturation, factors)
    if how.hue:
        turned = []
        for window, angle in zip(
            frames, 2 * np.pi * rng.uniform(-how.hue, how.hue, len(frames)), strict=True
        ):
            turn = np.eye(3)
            turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            turned.append(window @ (np.linalg.inv(TO_YIQ) @ turn @ TO_YIQ).T.astype(np.float32))
        frames = np.stack(turned)
    return np.asarray(frames, np.float32)


def _factor(rng: np.random.Generator, share: float, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(1 - share, 1 + share, shape).astype(np.float32)
