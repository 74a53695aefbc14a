"""RT-1's letterbox rounds as TensorFlow's resize_with_pad does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from real2sim.policies.rt1.image import letterbox, letterbox_place


@pytest.mark.parametrize(
    ("frame", "inner", "corner"),
    [
        ((256, 320), (256, 320), (0, 0)),
        ((480, 640), (240, 320), (8, 0)),
        # The rounded frame would stand one pixel lower: (256 - 96) // 2 = 80, but (256 - 96.096) / 2 = 79.95.
        ((100, 333), (96, 320), (79, 0)),
        ((97, 61), (256, 160), (0, 79)),
    ],
)
def test_frames_stand_where_tensorflow_puts_them(frame, inner, corner) -> None:
    assert letterbox_place(frame, (256, 320)) == (inner, corner)
    white = torch.full((1, *frame, 3), 255, dtype=torch.uint8)
    boxed = letterbox(white, (256, 320))[0].numpy()
    rows, columns = np.flatnonzero(boxed.any(axis=(1, 2))), np.flatnonzero(boxed.any(axis=(0, 2)))
    assert (rows[0], columns[0]) == corner
    assert (len(rows), len(columns)) == inner


@settings(max_examples=100, deadline=None)
@given(height=st.integers(2, 1000), width=st.integers(2, 1000))
def test_the_frame_lies_inside_the_box(height: int, width: int) -> None:
    inner, corner = letterbox_place((height, width), (256, 320))
    for side, start, box in zip(inner, corner, (256, 320), strict=True):
        assert start >= 0 and start + side <= box


def test_every_size_equals_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width = (int(side) for side in rng.integers(20, 700, size=2))
        frame = rng.integers(256, size=(1, height, width, 3), dtype=np.uint8)
        expected = tf.cast(tf.image.resize_with_pad(frame, 256, 320), tf.uint8).numpy()
        found = letterbox(torch.from_numpy(frame), (256, 320)).numpy()
        # Bilinear weights are rounded differently: one grey level after the fraction is cut off.
        assert np.abs(found.astype(int) - expected).max() <= 1, (height, width)
