"""All start frames of a suite on one picture, to look at before anything is run."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from real2sim.files import write_bytes
from real2sim.simulation.suite import Start

TILE_HEIGHT, WIDEST = 120, 320
"""Pixels that a frame is shown with: this high, unless it would be wider than that."""
SHEET_WIDTH = 1600
LINE, LINES, MARGIN = 12, 3, 6
"""Height of a line of text, lines below a frame, and pixels between frames."""
INK, PAPER = (20, 20, 20), (255, 255, 255)


def write_contact_sheet(path: Path, starts: Mapping[str, Sequence[Start]]) -> None:
    """Write a PNG with the frame, the id and the instruction of every start, task by task."""
    from PIL import Image, ImageDraw

    height, width = next(iter(starts.values()))[0].frame.shape[:2]
    scale = min(TILE_HEIGHT / height, WIDEST / width)
    tile = max(1, round(width * scale)), max(1, round(height * scale))
    cell = tile[0] + MARGIN, tile[1] + LINES * LINE + MARGIN
    columns = min(max(1, (SHEET_WIDTH - MARGIN) // cell[0]), max(3, max(map(len, starts.values()))))
    rows = {name: -(-len(items) // columns) for name, items in starts.items()}
    total = MARGIN + sum(count * cell[1] + 2 * LINE for count in rows.values())
    sheet = Image.new("RGB", (MARGIN + columns * cell[0], total), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    letters = max(4, tile[0] // 6)
    for name, items in starts.items():
        draw.text((MARGIN, top), f"{name}: {len(items)} starts, {items[0].task.horizon} steps", fill=INK)
        top += 2 * LINE
        for place, start in enumerate(items):
            left, upper = MARGIN + place % columns * cell[0], top + place // columns * cell[1]
            picture = Image.fromarray(np.ascontiguousarray(start.frame)).resize(
                tile, Image.Resampling.LANCZOS
            )
            sheet.paste(picture, (left, upper))
            said = textwrap.wrap(f"{start.id} {start.instruction}", letters)[:LINES]
            for line, text in enumerate(said):
                draw.text((left, upper + tile[1] + line * LINE), text, fill=INK)
        top += rows[name] * cell[1]
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
