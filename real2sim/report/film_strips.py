"""Film strips: an episode as a row of frames, and the choice of episodes worth seeing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from real2sim.arrays import read_arrays
from real2sim.report.wording import task_name

FRAMES_PER_STRIP = 7


@dataclass(frozen=True)
class FilmStrip:
    """One strip with what it shows."""

    policy: str
    task: str
    caption: str
    png: bytes
    alt: str


def film_strip(frames: np.ndarray, count: int = FRAMES_PER_STRIP, gap: int = 2) -> np.ndarray:
    """``count`` frames of (t h w 3) uint8, evenly spaced, first and last among them, in a row (h w' 3).

    Raises:
        ValueError: if the frames are not (t h w 3) uint8.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
        raise ValueError(f"frames must be (t h w 3) uint8, got {frames.dtype} {frames.shape}")
    chosen = frames[np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)]
    height, width = frames.shape[1:3]
    strip = np.full((height, len(chosen) * (width + gap) - gap, 3), 255, np.uint8)
    for i, frame in enumerate(chosen):
        strip[:, i * (width + gap) : i * (width + gap) + width] = frame
    return strip


def png_bytes(image: np.ndarray) -> bytes:
    """A uint8 image (h w 3) as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def saved_frames(path: Path | str) -> np.ndarray:
    """The frames (t h w 3) of an episode file (npz with ``frames`` or ``image``).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no frames.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no episode file at {path}")
    arrays = read_arrays(path, (), optional=("frames", "image"))
    if not arrays:
        raise ValueError(f"{path} holds no array “frames”; is it an episode's file?")
    return checked_frames(next(iter(arrays.values())), str(path))


def checked_frames(frames: np.ndarray, where: str) -> np.ndarray:
    """The same frames; ValueError unless they are uint8 (t h w 3)."""
    if (
        not isinstance(frames, np.ndarray)
        or frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[3] != 3
    ):
        found = f"{frames.dtype} {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise ValueError(f"{where}: frames are {found}, expected uint8 (t, h, w, 3)")
    return frames


def frames_by_column(episodes: pd.DataFrame) -> Callable[[str], np.ndarray] | None:
    """A function episode id -> frames from the paths in column ``video``, or None without that column."""
    if "video" not in episodes or "episode" not in episodes:
        return None
    paths = dict(zip(episodes["episode"].astype(str), episodes["video"], strict=True))
    wrong = next((path for path in paths.values() if not isinstance(path, str | Path)), None)
    if wrong is not None:
        raise ValueError(f"the column video holds {wrong!r}, expected the path of each episode's file")
    return lambda episode: saved_frames(paths[episode])


def success_and_failure(episodes: pd.DataFrame) -> pd.DataFrame:
    """One success and one failure of each policy, as typical as the judge's probability allows.

    Typical is the median probability among the successes (or failures); without probabilities, the middle
    one.
    """
    chosen: list[int] = []
    for _, group in episodes.groupby(["policy", "success"], sort=False, observed=True):
        if "probability" in group and group["probability"].notna().any():
            group = group.sort_values("probability", kind="stable")
        chosen.append(group.index[len(group) // 2])
    return episodes.loc[chosen].sort_values(["policy", "success"], ascending=[True, False], kind="stable")


def make_strips(
    episodes: pd.DataFrame, frames: Callable[[str], np.ndarray], captions: Iterable[str] | None = None
) -> tuple[list[FilmStrip], list[str]]:
    """A strip for each row that has frames, and remarks on those whose file is missing or unreadable."""
    strips: list[FilmStrip] = []
    missing: list[str] = []
    words = list(captions) if captions is not None else [""] * len(episodes)
    for (_, row), caption in zip(episodes.iterrows(), words, strict=True):
        try:
            loaded = checked_frames(frames(str(row["episode"])), f"episode {row['episode']}")
            image = film_strip(loaded)
        except (FileNotFoundError, KeyError, ValueError) as error:
            missing.append(f"{row['episode']} ({error})")
            continue
        verdict = "success" if row["success"] else "failure"
        text = caption or f"{verdict}, {task_name(row['task'])}"
        if "probability" in row and not pd.isna(row["probability"]):
            text += f" (judge: {row['probability']:.2f})"
        shown = f"simulated episode {row['episode']} of {row['policy']}"
        alt = f"Film strip of {shown}: {len(loaded)} frames, {verdict}"
        strips.append(FilmStrip(str(row["policy"]), str(row["task"]), text, png_bytes(image), alt))
    if missing:
        return strips, [f"{len(missing)} film strips could not be drawn; the first: {missing[0]}."]
    return strips, []
