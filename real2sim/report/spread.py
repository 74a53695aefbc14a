"""Dots that lie on each other are moved apart, so that each can be seen."""

from __future__ import annotations

import numpy as np

ROUNDS = 200


def spread(
    points: np.ndarray, distance: float, low: tuple[float, float], high: tuple[float, float]
) -> np.ndarray:
    """Places (k 2) near ``points`` (k 2) that are ``distance`` apart where room allows.

    They stay between ``low`` and ``high`` (x, y).  Pairs that are too near push each other away by half of what is
    missing, and every place is drawn back a little to its point; dots on the very same point leave it in different
    directions.  The same points give the same places.
    """
    points = np.asarray(points, float)
    if len(points) < 2:
        return points.copy()
    # Equal points have no direction between them: the golden angle gives each dot its own.
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(len(points))
    places = points + 1e-3 * distance * np.column_stack([np.cos(angle), np.sin(angle)])
    for _ in range(ROUNDS):
        between = places[:, None] - places[None]
        apart = np.hypot(between[..., 0], between[..., 1])
        np.fill_diagonal(apart, np.inf)
        missing = np.clip(distance - apart, 0, None)
        if missing.max() < 0.02 * distance:
            break
        push = (0.5 * missing / np.maximum(apart, 1e-9))[..., None] * between
        places = np.clip(places + push.sum(axis=1) + 0.02 * (points - places), low, high)
    return places
