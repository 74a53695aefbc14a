"""Checks of arrays."""

from __future__ import annotations

import numpy as np

from real2sim.arrays import beyond_float32


def test_numbers_that_float32_does_not_hold_are_found() -> None:
    values = np.array([[1.0, 2], [3, 1e39], [np.nan, 0]])
    assert beyond_float32(values) == (1, 1)
    assert beyond_float32(values[[0, 2]]) == (1, 0)
    assert beyond_float32(values[:1]) is None
