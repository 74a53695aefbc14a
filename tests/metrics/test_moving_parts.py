"""Numbers that say whether drawn frames can be acted on, on frames whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from real2sim.metrics.moving_parts import changed_pixels, edge_sharpness, static_error


def moving_square() -> tuple[np.ndarray, np.ndarray]:
    """A start frame without, and frames with, a bright square of 6 x 6 pixels (1 h w 3) and (1 2 h w 3)."""
    start = np.full((1, 20, 20, 3), 60, np.uint8)
    recorded = np.repeat(start[:, None], 2, axis=1)
    recorded[0, 0, 4:10, 4:10] = 200
    recorded[0, 1, 8:14, 4:10] = 200
    return start, recorded


def test_only_what_differs_from_the_start_frame_has_changed() -> None:
    start, recorded = moving_square()
    assert changed_pixels(start, recorded).sum(axis=(2, 3)).tolist() == [[36, 36]]


def test_static_error_does_not_look_at_what_moves() -> None:
    start, recorded = moving_square()
    predicted = recorded.copy()
    predicted[0, 0, 4:10, 4:10] = 0
    assert static_error(start, recorded, predicted).tolist() == [[0.0, 0.0]]
    predicted[0, 1, 0, 0] += 3
    assert static_error(start, recorded, predicted)[0, 1] == pytest.approx(3 / (400 - 36))


def test_equal_frames_are_as_sharp_and_blurred_ones_are_less() -> None:
    start, recorded = moving_square()
    assert edge_sharpness(start, recorded, recorded).tolist() == [[1.0, 1.0]]
    blurs = [gaussian_filter(recorded, (0, 0, width, width, 0)) for width in (0.5, 1.0, 2.0)]
    sharpness = [edge_sharpness(start, recorded, blurred).mean() for blurred in blurs]
    assert 1 > sharpness[0] > sharpness[1] > sharpness[2] > 0


def test_where_nothing_moves_nothing_can_be_soft() -> None:
    start, recorded = moving_square()
    still = np.repeat(start[:, None], 2, axis=1)
    assert edge_sharpness(start, still, recorded).tolist() == [[1.0, 1.0]]
