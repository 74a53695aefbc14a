"""A mark for smeared video: colours that no start frame has.

A world model that loses an object mixes its colour with that of what is behind it.  Start frames are real, so colours
that none of them holds are likely to be such mixtures.  This is a mark on film strips and enters no number of the
report; lamps, shadows and objects that come into view later give odd colours as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVELS = 16
"""Levels per colour channel."""
SMEARED = 0.02
"""Share of pixels in odd colours from which a film is marked; see docs/report.md for how it was chosen."""
FEWEST_PIXELS = 3
"""Pixels of the start frames, all together, from which a colour counts as theirs."""
TIMES_USUAL = 3.0
"""How many times as many as in the median film it must be: where all films have odd colours they say nothing."""


def odd_colours(starts: Sequence[np.ndarray], frames: Sequence[np.ndarray]) -> list[float]:
    """Per film, the share of pixels of its ``frames`` (t h w 3) whose colour no start frame (h w 3) of any film holds.

    Colours are counted in cells of 16 levels per channel, and the six cells next to one that occurs are known as well.
    """
    if not starts:
        return []
    count = np.zeros((LEVELS + 2,) * 3, int)
    for start in starts:
        np.add.at(count, _cells(start), 1)
    common = count >= FEWEST_PIXELS
    seen = common.copy()
    for axis in range(3):
        seen |= np.roll(common, 1, axis) | np.roll(common, -1, axis)
    return [float(1 - seen[_cells(film)].mean()) if film.size else 0.0 for film in frames]


def _cells(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Cell of each pixel (... 3), with a margin of one so that neighbours never wrap around."""
    return tuple(1 + pixels[..., channel].reshape(-1).astype(int) // (256 // LEVELS) for channel in range(3))


def smeared(odd: Sequence[float]) -> list[bool]:
    """Which films are marked, from the share of odd colours in each."""
    usual = float(np.median(odd)) if len(odd) else 0.0
    return [bool(value > max(SMEARED, TIMES_USUAL * usual)) for value in odd]
