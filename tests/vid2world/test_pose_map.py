"""Lines drawn from a state: forward kinematics, the camera, and what a pixel near a line is worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from real2sim.vid2world.pose_map import Camera, Line, Link, PoseMap, PoseMapConfig

ABOVE = Camera(position=(0, 0, 2), forward=(0, 0, -1), up=(0, 1, 0), field_of_view=90)
"""Looks down from two metres: x to the right, y upwards, 4 metres over the whole image."""
ARM = (
    Link("upper", None, (0, 0, 0), joint="shoulder"),
    Link("lower", "upper", (1, 0, 0), joint="elbow"),
    Link("slider", None, (0, -1, 0), joint="slide", moves="slide", axis=(1, 0, 0)),
)
NAMES = ("slide", "elbow", "shoulder")
LINES = (
    Line(0, "upper", (0, 0, 0), (1, 0, 0), 0.1),
    Line(1, "lower", (0, 0, 0), (0.5, 0, 0), 0.1),
    Line(0, "slider", (0, 0, 0), (0, 0.1, 0), 0.1),
)


def pose_map(lines: tuple[Line, ...] = LINES, size: int = 64) -> PoseMap:
    return PoseMap(PoseMapConfig(ARM, lines, ABOVE), NAMES, size, size)


def test_joints_turn_and_slide_links_after_their_parents() -> None:
    states = torch.tensor([[0.25, math.pi / 2, math.pi / 2]])
    ends = pose_map().points(states)[0]
    torch.testing.assert_close(ends[0], torch.tensor([[0.0, 0, 0], [0, 1, 0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(ends[1], torch.tensor([[0.0, 1, 0], [-0.5, 1, 0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(ends[2], torch.tensor([[0.25, -1, 0], [0.25, -0.9, 0]]), atol=1e-6, rtol=0)


def test_a_rotation_of_a_link_is_a_quaternion_with_w_first() -> None:
    quarter = (math.sqrt(0.5), 0, 0, math.sqrt(0.5))
    links = (Link("turned", None, (0, 0, 0), quarter),)
    drawn = PoseMap(PoseMapConfig(links, (Line(0, "turned", (0, 0, 0), (1, 0, 0), 0.1),), ABOVE), (), 8, 8)
    torch.testing.assert_close(
        drawn.points(torch.zeros(1, 0))[0, 0, 1], torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0
    )


def test_a_camera_sees_right_to_the_right_and_up_above() -> None:
    places, depths = pose_map().project(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
    # Half of the field of view is 45 degrees: at two metres, one metre is a quarter of the image.
    torch.testing.assert_close(places, torch.tensor([[16.0, 0], [0, -16], [0, 0]]))
    torch.testing.assert_close(depths, torch.tensor([2.0, 2, 1]))


def test_a_line_is_one_in_its_middle_a_half_at_its_edge_and_nothing_beyond_twice_its_radius() -> None:
    # 0.25 metres are 4 pixels; pixel centres lie half a pixel beside the axis.
    image = pose_map((Line(0, "upper", (0, 0, 0), (1, 0, 0), 0.25),))(torch.zeros(1, 3))[0, 0]
    column = image[:, 40]
    assert column[31] == pytest.approx(1 - 0.5 / 8)
    assert column[32 + 3] == pytest.approx(1 - 3.5 / 8)
    assert column[32 + 8 :].max() == 0
    assert image[32, :20].max() == 0


def test_each_channel_has_its_own_lines_and_every_state_its_own_image() -> None:
    states = torch.tensor([[0.0, 0, 0], [0, 0, math.pi / 2]])
    images = pose_map()(states)
    assert images.shape == (2, 2, 64, 64)
    assert images[0, 0, 32, 40] > 0.5
    assert images[1, 0, 32, 40] == 0
    assert images[1, 0, 24, 32] > 0.5
    torch.testing.assert_close(images[1:], pose_map()(states[1:]))


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="'lower' comes before its parent 'upper'"):
        PoseMapConfig(ARM[1:], LINES[1:2], ABOVE)
    with pytest.raises(ValueError, match="link 'hand', which is not among"):
        PoseMapConfig(ARM, (Line(0, "hand", (0, 0, 0), (1, 0, 0), 0.1),), ABOVE)
    with pytest.raises(ValueError, match="without gaps"):
        PoseMapConfig(ARM, (Line(1, "upper", (0, 0, 0), (1, 0, 0), 0.1),), ABOVE)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            lambda: Line(0, "upper", (), (1, 0, 0), 0.1),
            "line of link 'upper': begin has 0 numbers, expected 3",
        ),
        (lambda: Line(0, "upper", (0, 0, 0), (1, 0, 1e300), 0.1), "end must be at most 1000000.0, got 1e"),
        (lambda: Line(0, "upper", (0, 0, 0), (1, 0, 0), 0.0), "radius must be at least 1e-06, got 0.0"),
        (lambda: Link("a", None, (0, 0, 0), axis=(0, 0, 0)), "link 'a': axis is .*expected a direction"),
        (lambda: Link("a", None, (0, 0, 0), (0, 0, 0, 0)), "link 'a': rotation is .*expected a direction"),
        (lambda: Link("a", None, (0, 0, 0), (1, 0, 0)), "link 'a': rotation has 3 numbers, expected 4"),
        (lambda: Link("a", None, (0, 0)), "link 'a': position has 2 numbers, expected 3"),
        (lambda: Camera((0, 0, 2), (0, 0, 0), (0, 1, 0), 90), "camera's forward is .*expected a direction"),
        (lambda: Camera((0, 0, 2), (0, 0, -1), (0, 0, 3), 90), "camera's up .* lies along its forward"),
        (lambda: Camera((0, 0, 2), (0, 0, -1), (0, 1, 0), 180), "field_of_view must be at most 179, got 180"),
        (lambda: Camera((0, 0, 2), (0, 0, -1), (0, 1, 0), 0), "field_of_view must be at least 0.01, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_its_name(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"pose_map: .*{complaint}"):
        make()


def test_a_state_is_drawn_the_same_however_many_are_drawn_together() -> None:
    states = torch.rand(11, 3, generator=torch.Generator().manual_seed(0))
    together = pose_map()(states)
    assert together.shape == (11, 2, 64, 64)
    assert torch.equal(together, torch.cat([pose_map()(state[None]) for state in states]))


def test_patches_are_those_that_pixels_are_cut_into() -> None:
    states = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    cut = PoseMap(PoseMapConfig(ARM, LINES, ABOVE), NAMES, 32, 24, patch=4)
    whole = PoseMap(PoseMapConfig(ARM, LINES, ABOVE), NAMES, 32, 24)
    assert torch.equal(cut(states), torch.nn.functional.pixel_unshuffle(whole(states), 4))


def test_one_value_per_patch_is_that_of_its_middle() -> None:
    states = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    thick = tuple(replace(line, radius=0.2) for line in LINES)
    whole = PoseMap(PoseMapConfig(ARM, thick, ABOVE), NAMES, 66, 60)(states)
    patches = PoseMap(PoseMapConfig(ARM, thick, ABOVE, per="patch"), NAMES, 66, 60, patch=3)(states)
    assert torch.equal(patches, whole[:, :, 1::3, 1::3])


def test_no_line_falls_between_patches() -> None:
    thin = tuple(replace(line, radius=1e-4) for line in LINES)
    config = PoseMapConfig(ARM, thin, ABOVE, per="patch")
    states = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 3
    drawn = PoseMap(config, NAMES, 64, 64, patch=4)(states)
    assert drawn.shape == (200, 2, 16, 16)
    assert drawn.amax(dim=(2, 3)).min() >= 0.5


def test_other_places_of_values_are_refused() -> None:
    with pytest.raises(ValueError, match='per must be "pixel" or "patch", got \'frame\''):
        PoseMapConfig(ARM, LINES, ABOVE, per="frame")  # type: ignore[arg-type]
