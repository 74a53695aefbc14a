"""Episodes as videos: mp4 through PyAV, animated GIF through Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from real2sim.episodes.run_folder import RunFolder
from real2sim.files import atomic_write

SHORTEST_SIDE = 256
"""Pixels that the shorter side has at least: players blur smaller videos."""


def write_video(path: Path | str, frames: np.ndarray, frames_per_second: float = 3.0) -> Path:
    """Write frames uint8 (t h w 3) as ``.mp4`` (H.264) or ``.gif``; small frames are enlarged without blur.

    The file appears when it is complete.
    """
    path = Path(path)
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
        raise ValueError(f"a video needs uint8 frames (t, h, w, 3), got {frames.dtype} {frames.shape}")
    if frames_per_second <= 0:
        raise ValueError(f"frames_per_second must be above 0, got {frames_per_second}")
    writers = {".mp4": _write_mp4, ".gif": _write_gif}
    if path.suffix.lower() not in writers:
        raise ValueError(f"{path} should end in {' or '.join(writers)}")
    with atomic_write(path) as file:
        writers[path.suffix.lower()](file, enlarge(frames), frames_per_second)
    return path


def write_episode(run: Path | str, episode: str, path: Path | str, frames_per_second: float = 3.0) -> Path:
    """Write the video of an episode of a run."""
    frames, _ = RunFolder(run).episode(episode)
    return write_video(path, frames, frames_per_second)


def side_by_side(films: Sequence[np.ndarray]) -> np.ndarray:
    """Videos (t h w 3) of equal height side by side; shorter ones hold their last frame."""
    if not films:
        raise ValueError("there is no video to show")
    length = max(len(film) for film in films)
    held = [np.concatenate([film, np.repeat(film[-1:], length - len(film), axis=0)]) for film in films]
    return np.concatenate(held, axis=2)


def enlarge(frames: np.ndarray) -> np.ndarray:
    """Frames whose shorter side has at least `SHORTEST_SIDE` pixels and whose sides are even, as H.264 asks
    for."""
    factor = -(-SHORTEST_SIDE // min(frames.shape[1:3]))
    large = frames.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.pad(large, ((0, 0), (0, large.shape[1] % 2), (0, large.shape[2] % 2), (0, 0)), mode="edge")


def _write_mp4(file: IO[bytes], frames: np.ndarray, frames_per_second: float) -> None:
    import av

    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(frames_per_second).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _write_gif(file: IO[bytes], frames: np.ndarray, frames_per_second: float) -> None:
    from PIL import Image

    # One palette for the whole film; a palette per frame flickers.
    palette = Image.fromarray(frames.reshape(-1, *frames.shape[2:])).quantize(256)
    images = [Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    duration = round(1000 / frames_per_second)
    images[0].save(file, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
