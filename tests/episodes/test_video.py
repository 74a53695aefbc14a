from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.video import enlarge, side_by_side, write_video


@pytest.fixture
def frames() -> np.ndarray:
    """A bright square that moves over a dark ground."""
    frames = np.full((6, 16, 16, 3), 20, dtype=np.uint8)
    for t in range(6):
        frames[t, 4:12, 2 * t : 2 * t + 4] = (230, 120, 30)
    return frames


def test_an_mp4_holds_the_frames_in_order(tmp_path: Path, frames: np.ndarray) -> None:
    import av

    path = write_video(tmp_path / "film.mp4", frames)
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(3)
        seen = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert seen.shape == (6, 256, 256, 3)
    # Lossy, but far closer to its own frame than to a neighbour.
    difference = np.abs(seen[:, 8::16, 8::16].astype(float) - frames)
    assert difference.mean() < 8


def test_a_gif_holds_the_frames_and_their_time(tmp_path: Path, frames: np.ndarray) -> None:
    from PIL import Image, ImageSequence

    path = write_video(tmp_path / "film.gif", frames, frames_per_second=4)
    with Image.open(path) as image:
        seen = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        assert image.info["duration"] == 250
    np.testing.assert_allclose(np.stack(seen)[:, 8::16, 8::16], frames, atol=4)


def test_small_frames_are_enlarged_to_even_sides_without_blur() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 15, 21, 3), dtype=np.uint8)
    large = enlarge(frames)
    assert large.shape[1] % 2 == large.shape[2] % 2 == 0
    assert min(large.shape[1:3]) >= 256
    np.testing.assert_array_equal(large[:, : 15 * 18 : 18, : 21 * 18 : 18], frames)


def test_a_shorter_film_stands_still_beside_a_longer_one(frames: np.ndarray) -> None:
    both = side_by_side([frames, frames[:2]])
    assert both.shape == (6, 16, 32, 3)
    np.testing.assert_array_equal(both[5, :, 16:], frames[1])


@pytest.mark.parametrize(
    ("name", "complaint"), [("film.avi", r"should end in \.mp4 or \.gif"), ("film", "should end in")]
)
def test_another_ending_is_refused(tmp_path: Path, frames: np.ndarray, name: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        write_video(tmp_path / name, frames)


def test_a_film_needs_frames(tmp_path: Path, frames: np.ndarray) -> None:
    for wrong in (frames[:0], frames.astype(float), frames[..., 0]):
        with pytest.raises(ValueError, match="a video needs uint8 frames"):
            write_video(tmp_path / "film.mp4", wrong)
    assert not list(tmp_path.iterdir())
