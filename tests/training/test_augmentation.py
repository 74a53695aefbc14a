from __future__ import annotations

import numpy as np
import pytest

from real2sim.success.degradation import DegradationConfig
from real2sim.training.augmentation import LUMA, Augmentation, augment


def windows() -> np.ndarray:
    """uint8 (6 2 5 7 3), away from black and white so that nothing is clipped."""
    return np.random.default_rng(0).integers(90, 160, size=(6, 2, 5, 7, 3), dtype=np.uint8)


def test_by_default_frames_stay_as_they_are() -> None:
    frames = windows()
    assert augment(frames, np.random.default_rng(0), Augmentation()) is frames


def test_contrast_keeps_the_mean_grey_and_scales_the_spread_of_each_window() -> None:
    frames = windows()
    changed = augment(frames, np.random.default_rng(0), Augmentation(contrast=0.5)).astype(float)
    grey = (frames @ LUMA).mean((1, 2, 3))
    np.testing.assert_allclose((changed @ LUMA).mean((1, 2, 3)), grey, atol=0.5)
    ratio = changed.std((1, 2, 3, 4)) / frames.std((1, 2, 3, 4))
    assert (ratio > 0.45).all() and (ratio < 1.55).all()
    assert np.ptp(ratio) > 0.2


@pytest.mark.parametrize("how", [Augmentation(saturation=0.8), Augmentation(hue=0.5)])
def test_saturation_and_hue_keep_the_grey_of_every_pixel(how: Augmentation) -> None:
    frames = windows()
    changed = augment(frames, np.random.default_rng(1), how).astype(float)
    # Each channel is rounded, so grey may be off by half a step.
    np.testing.assert_allclose(changed @ LUMA, frames @ LUMA, atol=0.6)
    assert np.abs(changed - frames).mean() > 2


def test_both_frames_of_a_window_change_alike() -> None:
    frames = np.repeat(windows()[:, :1], 2, axis=1)
    how = Augmentation(shift=1, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    changed = augment(frames, np.random.default_rng(2), how)
    np.testing.assert_array_equal(changed[:, 0], changed[:, 1])


def test_half_a_turn_of_the_hue_makes_an_orange_pixel_bluish() -> None:
    # A turn by half a circle negates both colour differences: complementary colours.
    class Half:
        def uniform(self, low: float, high: float, size: int) -> np.ndarray:
            return np.full(size, high)

    orange = np.full((1, 1, 1, 1, 3), (170, 120, 70), np.uint8)
    turned = augment(orange, Half(), Augmentation(hue=0.5)).ravel()  # type: ignore[arg-type]
    grey = float(np.array([170, 120, 70]) @ LUMA)
    np.testing.assert_allclose(turned, 2 * grey - np.array([170, 120, 70]), atol=1)


@pytest.mark.parametrize(
    "values",
    [
        *({"hue": 0.6}, {"contrast": -0.1}, {"saturation": 1.5}, {"brightness": 1.0}, {"noise": np.nan}),
        *({"shift": 2**30}, {"shift": 1.5}, {"blur": 1e20}),
    ],
)
def test_strengths_out_of_range_are_refused(values: dict[str, float]) -> None:
    name = next(iter(values))
    with pytest.raises(ValueError, match=rf"^{name} (must be|lies between 0 and)"):
        Augmentation(**values)  # type: ignore[arg-type]
    if name in ("shift", "blur"):
        with pytest.raises(ValueError, match=rf"^{name} must be"):
            DegradationConfig(**values)  # type: ignore[arg-type]
