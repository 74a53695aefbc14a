"""Whether drawn frames can be acted on: sharpness of what moves, and stillness of what does not, (n t h w 3) uint8."""

from __future__ import annotations

import numpy as np

CHANGED = 8
"""Grey levels from which a pixel counts as changed since the start frame, in its most changed colour."""


def changed_pixels(start: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Where recorded frames (n t h w 3) differ from their start frames (n h w 3), bool (n t h w)."""
    difference = np.abs(recorded.astype(np.int16) - start[:, None].astype(np.int16)).max(axis=-1)
    return np.asarray(difference > CHANGED)


def static_error(start: np.ndarray, recorded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean absolute difference (n t), in grey levels, where the recording still shows the start frame (n h w 3).

    0 where a recorded frame has no such pixel.
    """
    still = ~changed_pixels(start, recorded)
    difference = np.abs(recorded.astype(np.int16) - predicted.astype(np.int16)).mean(axis=-1)
    count = still.sum(axis=(2, 3))
    return np.asarray((difference * still).sum(axis=(2, 3)) / np.maximum(count, 1))


def edge_sharpness(start: np.ndarray, recorded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Contrast of neighbouring pixels in predicted frames relative to recorded ones (n t), where something has moved.

    1: as sharp as recorded; 0: a grey fog.  1 where nothing has moved.
    """
    moved = changed_pixels(start, recorded)[:, :, 1:, 1:]
    drawn, real = ((_contrast(frames) * moved).sum(axis=(2, 3)) for frames in (predicted, recorded))
    return np.asarray(np.where(real > 0, drawn / np.maximum(real, 1e-9), 1.0))


def _contrast(frames: np.ndarray) -> np.ndarray:
    """Mean absolute difference to the pixels above and on the left (n t h-1 w-1)."""
    grey = frames.astype(np.float32).mean(axis=-1)
    here = grey[:, :, 1:, 1:]
    return np.asarray(np.abs(here - grey[:, :, :-1, 1:]) + np.abs(here - grey[:, :, 1:, :-1]))
