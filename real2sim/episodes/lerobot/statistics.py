"""Statistics of recorded numbers and images, as LeRobot's metadata keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
SAMPLED_FRAMES = 32
"""Frames of an episode that the statistics of a camera look at."""


def episode_statistics(
    images: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Feature -> statistics of one episode; vectors (t n), images (t h w 3) per colour, in [0, 1]."""
    found = {}
    for name, values in vectors.items():
        values = np.asarray(values, np.float64)
        found[name] = _stats(values, 0) | {"count": [len(values)]}
    for name, frames in images.items():
        few = frames[:: max(1, len(frames) // SAMPLED_FRAMES)].astype(np.float64) / 255
        stats = _stats(few.reshape(-1, 3), 0)
        found[f"observation.images.{name}"] = {
            kind: [[[value]] for value in values] for kind, values in stats.items()
        } | {"count": [len(few)]}
    return found


def _stats(values: np.ndarray, axis: int) -> dict[str, Any]:
    found = {
        "min": values.min(axis),
        "max": values.max(axis),
        "mean": values.mean(axis),
        "std": values.std(axis),
    }
    # All at once: the values are sorted once.
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=axis)
    found |= dict(zip(QUANTILES, quantiles, strict=True))
    return {name: value.tolist() for name, value in found.items()}


def merged_statistics(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Statistics of all episodes: exact but for the quantiles, which are means over episodes, as LeRobot's are."""
    merged: dict[str, Any] = {}
    for feature in parts[0]:
        counts = np.array([part[feature]["count"][0] for part in parts], np.float64)
        values = {
            kind: np.array([part[feature][kind] for part in parts], np.float64)
            for kind in ("min", "max", "mean", "std", *QUANTILES)
        }
        weights = (counts / counts.sum()).reshape(-1, *[1] * (values["mean"].ndim - 1))
        mean = (weights * values["mean"]).sum(0)
        spread = np.sqrt((weights * (values["std"] ** 2 + (values["mean"] - mean) ** 2)).sum(0))
        found = {"min": values["min"].min(0), "max": values["max"].max(0), "mean": mean, "std": spread}
        found |= {kind: (weights * values[kind]).sum(0) for kind in QUANTILES}
        merged[feature] = {kind: value.tolist() for kind, value in found.items()}
        merged[feature]["count"] = [int(counts.sum())]
    return merged
