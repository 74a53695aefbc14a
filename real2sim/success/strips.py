"""Film strips for human labelling: sheets of numbered episodes, and an empty CSV for the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from real2sim.episodes.run_folder import RunFolder
from real2sim.files import atomic_write, read_json, write_text
from real2sim.model_folder import config_from_dict, config_to_dict
from real2sim.success.label_key import make_key, write_key
from real2sim.success.labels import read_labels, write_labels

LABELS_FILE = "labels.csv"
LAYOUT_FILE = "sheets.json"
TITLE = 12
"""Height in pixels of the line above each strip."""


@dataclass(frozen=True)
class SheetLayout:
    """Which frames a sheet shows and where they are."""

    frame_size: tuple[int, int]
    """Height and width of a frame in pixels, before it is enlarged."""
    columns: int = 6
    """Frames per episode; the first one is always there."""
    ending: int = 3
    """How many of them are the very last frames, those a judge looks at; the others are evenly spaced."""
    enlarge: int = 3
    """Enlargement of the frames."""

    def __post_init__(self) -> None:
        if not 1 <= self.ending < self.columns or self.enlarge < 1:
            raise ValueError(
                "expected 1 <= ending < columns and enlarge >= 1, got "
                f"{self.ending}, {self.columns} and {self.enlarge}"
            )

    def shown(self, length: int) -> list[int]:
        """Which frames of an episode of ``length`` frames are shown; a short episode repeats some."""
        evenly = np.linspace(0, max(0, length - self.ending), self.columns - self.ending + 1)[:-1]
        last = [max(0, length - self.ending + index) for index in range(self.ending)]
        return [*evenly.round().astype(int).tolist(), *last]

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of an enlarged frame."""
        return self.frame_size[0] * self.enlarge, self.frame_size[1] * self.enlarge


@dataclass(frozen=True)
class StripSheets:
    """Draw film strips of a run's episodes for human labelling."""

    run: Path
    """Run folder."""
    out: Path
    """Folder for the sheets and ``labels.csv``."""
    episodes: int | None = None
    """How many episodes, drawn at random; by default all."""
    per_sheet: int = 8
    """Episodes per sheet."""
    columns: int = 6
    """Frames per episode."""
    ending: int = 3
    """How many of them are the very last frames."""
    enlarge: int = 3
    """Enlargement of the frames."""
    colours: int | None = None
    """Colours in the palette of each sheet, for small files; by default all."""
    seed: int = 0
    """Seed of the random order."""

    def __post_init__(self) -> None:
        if self.per_sheet < 1:
            raise ValueError(f"per_sheet must be at least 1, got {self.per_sheet}")


def write_sheets(config: StripSheets) -> list[Path]:
    """Write the sheets, their layout and an empty ``labels.csv``; gives the paths of the sheets.

    Labelling is blind: episodes come in random order, and ``labels.csv`` knows them by clip; which clip is which
    episode is in ``label_key.csv`` beside it and in the run.  An existing ``labels.csv`` is never overwritten.
    """
    labels = config.out / LABELS_FILE
    if labels.exists():
        raise ValueError(f"{labels} is there already; choose another folder, or move the labels away")
    folder = RunFolder(config.run)
    rows = sorted(folder.rows(), key=lambda row: str(row["episode"]))
    if not rows:
        raise FileNotFoundError(f"{config.run} holds no episodes; make some with real2sim rollout")
    order = np.random.default_rng(config.seed).permutation(len(rows))[: config.episodes]
    chosen = [rows[index] for index in order]
    size = folder.episode(str(chosen[0]["episode"]))[0].shape[1:3]
    layout = SheetLayout((size[0], size[1]), config.columns, config.ending, config.enlarge)
    clips = {
        episode: clip for clip, episode in make_key(config.run, [row["episode"] for row in rows]).items()
    }
    paths, lines, key = [], [], {}
    for start in range(0, len(chosen), config.per_sheet):
        part = chosen[start : start + config.per_sheet]
        path = config.out / f"sheet-{start // config.per_sheet:03d}.png"
        videos = [folder.episode(str(row["episode"]), row)[0] for row in part]
        titles = [f"{start + number}  {row['instruction']}" for number, row in enumerate(part)]
        _save(sheet(videos, titles, layout), path, config.colours)
        paths.append(path)
        for number, row in enumerate(part):
            place = {"number": str(start + number), "sheet": path.name, "row": str(number)}
            clip = clips[row["episode"]]
            key[clip] = str(row["episode"])
            lines.append({**place, "clip": clip, "instruction": str(row["instruction"]), "label": ""})
    write_key(config.out, key)
    write_text(config.out / LAYOUT_FILE, json.dumps(config_to_dict(layout), indent=2) + "\n")
    write_labels(labels, lines)
    return paths


def sheet(videos: Sequence[np.ndarray], titles: Sequence[str], layout: SheetLayout) -> Image.Image:
    """One picture with a titled film strip per episode (uint8 (t h w 3) each)."""
    height, width = layout.tile
    picture = Image.new("RGB", (width * layout.columns, (height + TITLE) * len(videos)), "white")
    pen = ImageDraw.Draw(picture)
    for number, (video, title) in enumerate(zip(videos, titles, strict=True)):
        top = number * (height + TITLE)
        pen.text((2, top), title, fill="black")
        tiles = video[layout.shown(len(video))].repeat(layout.enlarge, 1).repeat(layout.enlarge, 2)
        picture.paste(Image.fromarray(np.concatenate(list(tiles), axis=1)), (0, top + TITLE))
    return picture


def read_sheets(folder: Path) -> tuple[list[dict[str, str]], np.ndarray]:
    """Rows of ``labels.csv`` and the frames on the sheets, uint8 (episodes, columns, h, w, 3), in the same order."""
    layout = config_from_dict(SheetLayout, read_json(folder / LAYOUT_FILE), str(folder / LAYOUT_FILE))
    rows = read_labels(folder / LABELS_FILE)
    sheets = {name: _load(folder / name) for name in sorted({row["sheet"] for row in rows})}
    height, step = layout.tile[0], layout.enlarge
    episodes = []
    for row in rows:
        top = int(row["row"]) * (height + TITLE) + TITLE
        strip = sheets[row["sheet"]][top : top + height : step, ::step]
        if strip.shape[:2] != (layout.frame_size[0], layout.frame_size[1] * layout.columns):
            raise ValueError(f"{folder / row['sheet']} has no row {row['row']}; was {LAYOUT_FILE} changed?")
        episodes.append(np.stack(np.split(strip, layout.columns, axis=1)))
    return rows, np.stack(episodes)


def _load(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; the labels name it")
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _save(picture: Image.Image, path: Path, colours: int | None) -> None:
    if colours is not None:
        # Dithering would look like the grain of a generated frame.
        picture = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_write(path) as file:
        picture.save(file, format="PNG", optimize=True)
