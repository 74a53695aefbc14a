"""Film strips for labelling by eye: sheets of numbered episodes, and the CSV that waits for the labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from real2sim.episodes.run_folder import RunFolder
from real2sim.success.labels import write_labels


@dataclass(frozen=True)
class StripSheets:
    """Draw film strips of a run's episodes for labelling by eye."""

    run: Path
    """Run folder."""
    out: Path
    """Folder for the sheets and ``labels.csv``."""
    episodes: int | None = None
    """How many episodes, drawn at random; by default all."""
    per_sheet: int = 8
    """Episodes per sheet."""
    columns: int = 8
    """Frames per episode, evenly spaced; the first and the last one are always there."""
    enlarge: int = 2
    """Enlargement of the frames."""
    last: int = 1
    """Further enlargement of the last frame, which decides."""
    seed: int = 0
    """Seed of the random order."""
    colours: int | None = None
    """Colours in the palette of each sheet, for small files; by default all."""

    def __post_init__(self) -> None:
        if min(self.per_sheet, self.enlarge, self.last) < 1 or self.columns < 2:
            raise ValueError("per_sheet, enlarge and last must be at least 1, columns at least 2")


def write_sheets(config: StripSheets) -> list[Path]:
    """Write the sheets and an empty ``labels.csv``; gives the paths of the sheets.

    Episodes come in a random order and without their policy, so that whoever labels does not know whom
    she judges.  An existing ``labels.csv`` is never overwritten.
    """
    labels = config.out / "labels.csv"
    if labels.exists():
        raise ValueError(f"{labels} is there already; choose another folder, or move the labels away")
    folder = RunFolder(config.run)
    rows = sorted(folder.rows(), key=lambda row: str(row["episode"]))
    if not rows:
        raise FileNotFoundError(f"{config.run} holds no episodes; make some with real2sim rollout")
    order = np.random.default_rng(config.seed).permutation(len(rows))[: config.episodes]
    chosen = [rows[index] for index in order]
    paths, lines = [], []
    for start in range(0, len(chosen), config.per_sheet):
        part = chosen[start : start + config.per_sheet]
        path = config.out / f"sheet-{start // config.per_sheet:03d}.png"
        videos = [folder.episode(str(row["episode"]))[0] for row in part]
        titles = [f"{start + number}  {row['instruction']}" for number, row in enumerate(part)]
        _save(sheet(videos, titles, config), path, config.colours)
        paths.append(path)
        for number, row in enumerate(part):
            line = {"sheet": path.name, "row": str(start + number), "episode": str(row["episode"])}
            lines.append({**line, "task": str(row["task"]), "policy": str(row["policy"]), "label": ""})
    write_labels(labels, lines)
    return paths


def sheet(videos: Sequence[np.ndarray], titles: Sequence[str], config: StripSheets) -> Image.Image:
    """One picture with a titled film strip per episode (uint8 (t h w 3) each)."""
    title_height = 12
    strips = [film_strip(video, config.columns, config.enlarge, config.last) for video in videos]
    height = sum(strip.shape[0] + title_height for strip in strips)
    picture = Image.new("RGB", (max(strip.shape[1] for strip in strips), height), "white")
    pen = ImageDraw.Draw(picture)
    top = 0
    for strip, title in zip(strips, titles, strict=True):
        pen.text((2, top), title, fill="black")
        picture.paste(Image.fromarray(strip), (0, top + title_height))
        top += strip.shape[0] + title_height
    return picture


def film_strip(frames: np.ndarray, columns: int, enlarge: int = 1, last: int = 1) -> np.ndarray:
    """One row of evenly spaced frames, uint8 (h*enlarge*last, width, 3), of an episode (t h w 3).

    The last frame is ``last`` times larger than the others, which stand at the top.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, columns).round().astype(int))
    tiles = [np.asarray(frames[index]).repeat(enlarge, 0).repeat(enlarge, 1) for index in chosen[:-1]]
    final = np.asarray(frames[chosen[-1]]).repeat(enlarge * last, 0).repeat(enlarge * last, 1)
    row = np.full((final.shape[0], sum(tile.shape[1] for tile in tiles) + final.shape[1], 3), 255, np.uint8)
    left = 0
    for tile in [*tiles, final]:
        row[: tile.shape[0], left : left + tile.shape[1]] = tile
        left += tile.shape[1]
    return row


def _save(picture: Image.Image, path: Path, colours: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if colours is not None:
        picture = picture.quantize(colours)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    picture.save(temporary, format="PNG", optimize=True)
    os.replace(temporary, path)
