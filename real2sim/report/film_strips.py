"""Films: an episode as a row of frames that can be played, and the choice of episodes worth seeing."""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from real2sim.arrays import read_arrays
from real2sim.report.smear import odd_colours
from real2sim.report.wording import task_name

LOG = logging.getLogger(__name__)
STILLS = 8
"""Frames that a strip shows at rest."""
MOST_FRAMES = 32
"""Frames that a film is played with; of longer episodes, evenly spaced ones."""
LARGEST = 128
"""Height in pixels above which frames are made smaller for the page."""


@dataclass(frozen=True)
class Film:
    """One episode as the page shows it: all frames side by side in one picture."""

    policy: str
    task: str
    caption: str
    picture: bytes
    """WebP (h, count · w)."""
    count: int
    stills: tuple[int, ...]
    """Frames that are shown at rest, first and last among them."""
    shape: tuple[int, int]
    """Height and width of one frame."""
    alt: str
    episode: str
    success: bool
    odd_colours: float
    """See `odd_colours`; NaN where it was not computed."""


def evenly(frames: int, count: int) -> tuple[int, ...]:
    """``count`` of ``frames`` frame numbers, evenly spaced, first and last among them."""
    return tuple(np.linspace(0, frames - 1, min(count, frames)).round().astype(int).tolist())


def film_picture(frames: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    """Frames (t h w 3) uint8 side by side as one WebP picture, and the size (h w) that each has in it."""
    from PIL import Image

    height, width = frames.shape[1:3]
    if height > LARGEST:
        width, height = max(round(width * LARGEST / height), 1), LARGEST
        frames = np.stack([np.asarray(Image.fromarray(f).resize((width, height))) for f in frames])
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(frames), axis=1)).save(buffer, format="WEBP", quality=88, method=4)
    return buffer.getvalue(), (height, width)


def film_strip(frames: np.ndarray, count: int = STILLS, gap: int = 2) -> np.ndarray:
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
        found = "is no file" if os.path.lexists(path) else "does not exist"
        raise FileNotFoundError(
            f"{path} {found}; expected the frames of an episode there, make or copy it again"
        )
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
    if not frames.size:
        raise ValueError(f"{where}: frames have shape {frames.shape}; an episode needs at least one frame")
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


def make_films(
    episodes: pd.DataFrame, frames: Callable[[str], np.ndarray], captions: Iterable[str] | None = None
) -> tuple[list[Film], list[str]]:
    """A film for each row that has frames, and remarks on those whose file is missing or unreadable."""
    films: list[Film] = []
    starts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    missing: list[str] = []
    words = list(captions) if captions is not None else [""] * len(episodes)
    for (_, row), caption in zip(episodes.iterrows(), words, strict=True):
        try:
            loaded = checked_frames(frames(str(row["episode"])), f"episode {row['episode']}")
            if len(loaded) == 0:
                raise ValueError(f"episode {row['episode']} has no frames")
        except (FileNotFoundError, KeyError, ValueError) as error:
            missing.append(f"{row['episode']} ({error})")
            continue
        shown = loaded[list(evenly(len(loaded), MOST_FRAMES))]
        picture, shape = film_picture(shown)
        verdict = "success" if row["success"] else "failure"
        text = caption or f"{verdict}, {task_name(row['task'])}"
        if "probability" in row and not pd.isna(row["probability"]):
            text += f" (judge: {row['probability']:.2f})"
        alt = f"Film strip of simulated episode {row['episode']} of {row['policy']}: {len(loaded)} frames, {verdict}"
        starts.append(loaded[0])
        ends.append(loaded[3 * len(loaded) // 4 :])
        films.append(
            Film(
                policy=str(row["policy"]), task=str(row["task"]), caption=text, picture=picture, count=len(shown),
                stills=evenly(len(shown), STILLS), shape=shape, alt=alt, episode=str(row["episode"]),
                success=bool(row["success"]), odd_colours=math.nan,
            )
        )  # fmt: skip
    odd = odd_colours(starts, ends)
    films = [replace(film, odd_colours=value) for film, value in zip(films, odd, strict=True)]
    if missing:
        said = f"{len(missing)} film strips could not be drawn; the first: {missing[0]}."
        LOG.warning("%s A rollout with the same options draws missing and damaged episodes again.", said)
        return films, [said]
    return films, []
