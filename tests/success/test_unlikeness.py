"""A judge knows what it does not know: frames unlike real ones get no verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from real2sim.success.judge import open_judge
from real2sim.success.unlikeness import cells, conformal_quantile, detail, fit_unlikeness, read_unlikeness

DRAWER = Path(__file__).parents[2] / "real2sim/assets/drawer/judge"
ENDINGS = Path(__file__).parents[1] / "data/success/heldout_endings.npz"


def real_episodes(count: int, seed: int, size: int = 32) -> np.ndarray:
    """Frames (e 3 h w 3): a still textured background and a square that stands anywhere on a shelf."""
    background = np.random.default_rng(99).integers(60, 180, (size, size, 3))
    rng = np.random.default_rng(seed)
    frames = np.repeat(background[None, None], count, axis=0).repeat(3, axis=1)
    for episode in frames:
        for frame in episode:
            left = int(rng.integers(2, size - 8))
            frame[12:18, left : left + 6] = (230, 120, 30)
    noise = rng.normal(0, 2, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def measure():
    return fit_unlikeness(real_episodes(400, seed=0))


BROKEN = {
    "black": lambda f: f * 0,
    "white": lambda f: f * 0 + 255,
    "grey": lambda f: f * 0 + 128,
    "noise": lambda f: np.random.default_rng(0).integers(0, 256, f.shape, dtype=np.uint8),
    "grain": lambda f: np.clip(f + np.random.default_rng(0).normal(0, 30, f.shape), 0, 255).astype(np.uint8),
    "other colour order": lambda f: f[..., ::-1],
    "upside down": lambda f: f[:, :, ::-1],
    "half the light": lambda f: f // 2,
    "washed out": lambda f: gaussian_filter(f, (0, 0, 3, 3, 0)),
    "a black last frame": lambda f: np.concatenate([f[:, :-1], f[:, -1:] * 0], axis=1),
    "half the picture": lambda f: np.where(np.arange(f.shape[3])[:, None] < f.shape[3] // 2, 0, f).astype(
        np.uint8
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_frames_are_unlike_real_ones(measure, name: str) -> None:
    assert measure.unlike(BROKEN[name](real_episodes(50, seed=1))).mean() >= 0.95


def test_further_real_episodes_are_refused_as_seldom_as_was_asked(measure) -> None:
    # 100 episodes for five limits: 5 of 101 at the most, on average over fits.
    assert measure.refused == pytest.approx(5 / 101)
    assert measure.unlike(real_episodes(1000, seed=2)).mean() < 0.07


def test_refusals_of_exchangeable_episodes_have_the_conformal_rate() -> None:
    rng = np.random.default_rng(0)
    refused = [
        np.mean(rng.normal(size=200) > conformal_quantile(rng.normal(size=99), 0.05)) for _ in range(2000)
    ]
    # Exactly 0.05 on average for 99 scores: (n + 1) alpha is whole.
    assert np.mean(refused) == pytest.approx(0.05, abs=0.002)


def test_the_conformal_quantile_is_an_order_statistic() -> None:
    assert conformal_quantile(np.arange(1, 100), 0.05) == 95
    assert conformal_quantile([3.0, 1.0, 2.0], 0.25) == 3
    with pytest.raises(ValueError, match=r"3 scores cannot bound a further one at 0\.1; expected at least 9"):
        conformal_quantile([3.0, 1.0, 2.0], 0.1)


def test_cells_are_mean_colours_whatever_the_size() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 37, 3), dtype=np.uint8)
    found = cells(frames).reshape(2, 16, 16, 3)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), frames.mean(axis=(1, 2)) / 255, atol=1e-6)
    even = cells(frames[:, :, :32]).reshape(2, 16, 16, 3)
    np.testing.assert_allclose(even[:, 0, 0], frames[:, :3, :2].mean(axis=(1, 2)) / 255, atol=1e-6)


def test_detail_is_zero_only_for_frames_of_one_colour() -> None:
    frames = np.full((1, 8, 8, 3), 70, np.uint8)
    assert detail(frames) == 0
    frames[0, 3, 3] += 1
    assert detail(frames) > 0


def test_the_measure_is_read_as_it_was_written(measure, tmp_path: Path) -> None:
    measure.save(tmp_path)
    again = read_unlikeness(tmp_path)
    frames = real_episodes(20, seed=3)
    np.testing.assert_allclose(again.score(frames), measure.score(frames), rtol=1e-4)
    assert again.episodes == measure.episodes == 100
    assert read_unlikeness(tmp_path / "elsewhere") is None
    (tmp_path / "unlikeness.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(ValueError, match=r"unlikeness\.safetensors cannot be read as safetensors"):
        read_unlikeness(tmp_path)


def test_too_few_real_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="10 real episodes are too few"):
        fit_unlikeness(real_episodes(10, seed=0))


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("instruction", ["close drawer", "open drawer"])
def test_the_shipped_judge_has_no_verdict_on_broken_frames(name: str, instruction: str) -> None:
    judge = open_judge(DRAWER)
    endings = np.load(ENDINGS)["frames"]
    broken = BROKEN[name](endings)
    verdicts = judge.judge([""] * len(broken), list(broken), [instruction] * len(broken))
    assert np.isnan(verdicts).mean() >= 0.95
