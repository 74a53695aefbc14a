"""Parts of the robot as convex bodies of few faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.so101.hulls import convex_body, read_stl, slices


def test_the_convex_body_of_a_filled_cube_is_the_cube() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    found, triangles = convex_body(np.concatenate([points, corners]))
    assert {tuple(corner) for corner in found} == {tuple(corner) for corner in corners}
    assert len(triangles) == 12


def test_triangles_are_turned_outwards() -> None:
    points = np.random.default_rng(1).normal(size=(300, 3))
    corners, triangles = convex_body(points)
    a, b, c = (corners[triangles[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a) * (a - corners.mean(axis=0))).sum(axis=1).min() > 0


def test_slices_cover_a_part_and_overlap_a_little() -> None:
    points = np.linspace(0, 1, 1001)[:, None] * np.array([0, 1, 0])
    low, high = slices(points, 1, (0.0, 0.4, 1.0))
    assert low[:, 1].max() == pytest.approx(0.401)
    assert high[:, 1].min() == pytest.approx(0.399)


def test_a_text_is_no_stl_file(tmp_path: Path) -> None:
    path = tmp_path / "part.stl"
    path.write_text("solid part\nendsolid part\n" * 10)
    with pytest.raises(ValueError, match=r"part\.stl is not a binary STL file"):
        read_stl(path)
