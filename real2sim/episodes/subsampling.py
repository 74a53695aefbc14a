"""Fewer frames per second than were recorded, and all the actions that lie between them."""

from __future__ import annotations

import numpy as np

LONGEST_STRIDE = 10**9
"""Source frames between two kept ones; no recording is longer."""


def frame_stride(where: str, rate: float, hz: float | None) -> int:
    """Source frames per kept frame, of ``rate`` per second at ``hz``; ValueError unless it is a whole number."""
    if hz is None:
        return 1
    stride = round(min(rate / hz, LONGEST_STRIDE))
    if stride < 1 or abs(rate / hz - stride) > 1e-6 * stride:
        possible = [rate / k for k in range(1, 61) if (rate / k).is_integer()][:16]
        raise ValueError(
            f"{where} has {rate:g} frames per second, of which {hz:g} cannot be kept evenly; "
            f"choose one of {', '.join(f'{rate:g}' for rate in possible) or f'{rate:g}'}"
        )
    return stride


def frame_actions(actions: np.ndarray, stride: int) -> np.ndarray:
    """Actions (t k n) of each kept frame, or (t n) where a frame has one; from all actions (l n).

    The last frame may have fewer than ``stride`` actions; its last one fills the rest.  It leads to no frame.
    """
    if stride == 1:
        return actions
    frames = -(-len(actions) // stride)
    filled = np.concatenate([actions, np.repeat(actions[-1:], frames * stride - len(actions), axis=0)])
    return filled.reshape(frames, stride, -1)
