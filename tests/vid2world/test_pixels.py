"""RT-1 frames become the model's pictures and come back."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from real2sim.vid2world.released.letterbox import content_size, frames_to_pixels, pixels_to_frames


def smooth_frames(height: int, width: int, seed: int) -> torch.Tensor:
    """Frames without detail finer than the camera's pixels, as resizing cannot keep such detail."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 5, 6, generator=generator) * 255
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return fine.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def test_rt1_frames_fill_400_columns_between_black_bars() -> None:
    frames = torch.full((1, 256, 320, 3), 255, dtype=torch.uint8)
    pixels = frames_to_pixels(frames)
    assert pixels.shape == (1, 3, 320, 512)
    assert content_size((256, 320), (320, 512)) == (320, 400)
    assert (pixels[..., :56] == -1).all()
    assert (pixels[..., 456:] == -1).all()
    torch.testing.assert_close(pixels[..., 56:456], torch.ones(1, 3, 320, 400), rtol=0, atol=1e-6)


def test_enlarging_is_plain_bilinear_and_not_rounded() -> None:
    frames = smooth_frames(256, 320, seed=0)
    values = frames.permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(values, size=(320, 400), mode="bilinear", align_corners=False)
    content = frames_to_pixels(frames)[..., 56:456]
    torch.testing.assert_close(content, (expected / 255 - 0.5) * 2, rtol=0, atol=2e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_frames_survive_the_way_there_and_back(seed: int) -> None:
    frames = smooth_frames(256, 320, seed)
    back = pixels_to_frames(frames_to_pixels(frames), (256, 320))
    assert back.dtype == torch.uint8
    assert (back.int() - frames.int()).abs().max() <= 2


def test_predictions_outside_the_range_are_clamped() -> None:
    pixels = torch.full((1, 3, 320, 512), 7.0)
    assert (pixels_to_frames(pixels, (256, 320)) == 255).all()


def test_the_games_frames_get_bars_above_and_below() -> None:
    frames = torch.full((1, 150, 280, 3), 255, dtype=torch.uint8)
    pixels = frames_to_pixels(frames)
    assert content_size((150, 280), (320, 512)) == (275, 512)
    assert (pixels[..., :22, :] == -1).all()
    assert (pixels[..., 22 + 275 :, :] == -1).all()
    torch.testing.assert_close(pixels[..., 22 : 22 + 275, :], torch.ones(1, 3, 275, 512), rtol=0, atol=1e-6)
    assert (pixels_to_frames(pixels, (150, 280)) == 255).all()


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_no_frame_is_cropped_and_one_side_fills_the_picture(height: int, width: int) -> None:
    content = content_size((height, width), (320, 512))
    assert content[0] <= 320 and content[1] <= 512
    assert content[0] == 320 or content[1] == 512


def test_sizes_are_cut_and_grey_levels_are_rounded() -> None:
    """320 / 255 x 320 columns are 401.57; the published code cuts the fraction off."""
    assert content_size((255, 320), (320, 512)) == (320, 401)
    pixels = torch.full((1, 3, 320, 512), 100.6 / 127.5 - 1)
    assert (pixels_to_frames(pixels, (256, 320)) == 101).all()
