"""Drawings inside the page: SVG whose colours come from the page's style sheet, so that they follow dark mode."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from real2sim.report import wording
from real2sim.report.plots import MOST_NUMBERED
from real2sim.report.spread import spread

SIZE, LEFT, TOP, RIGHT, BOTTOM = 360.0, 44.0, 8.0, 352.0, 316.0
"""Drawing and its plot area, in the units of the drawing."""
RADIUS = 8.5


def _x(rate: np.ndarray) -> np.ndarray:
    return LEFT + 12 + rate * (RIGHT - LEFT - 24)


def _y(rate: np.ndarray) -> np.ndarray:
    return BOTTOM - 12 - rate * (BOTTOM - TOP - 24)


def scatter(rows: pd.DataFrame, real_name: str, label: str) -> str:
    """Simulated over real rate of one task, one dot per policy with 95 % bars; an empty string without such rates.

    A dot that would lie on another one is moved aside; a line leads to where it belongs.
    """
    rows = rows[rows["sim_rate"].notna() & rows["real_rate"].notna()]
    if rows.empty:
        return ""
    x, y = _x(rows["real_rate"].to_numpy(float)), _y(rows["sim_rate"].to_numpy(float))
    numbered = len(rows) <= MOST_NUMBERED
    places = np.column_stack([x, y])
    if numbered:
        corners = (LEFT + RADIUS, TOP + RADIUS), (RIGHT - RADIUS, BOTTOM - RADIUS)
        places = spread(places, 2 * RADIUS + 0.5, *corners)
    parts = [
        f'<svg class="plot" viewBox="0 0 {SIZE:.0f} {SIZE:.0f}" role="img" aria-label="{escape(label)}">',
        _frame(real_name),
    ]
    for (px, py), tx, ty, row in zip(places, x, y, rows.itertuples(), strict=True):
        bars = []
        if not wording.missing(row.real_low):
            left, right = _x(np.array([row.real_low, row.real_high]))
            bars.append(f'<path class="bar" d="M{left:.1f} {ty:.1f}H{right:.1f}"/>')
        if not wording.missing(row.sim_low):
            low, high = _y(np.array([row.sim_low, row.sim_high]))
            bars.append(f'<path class="bar" d="M{tx:.1f} {low:.1f}V{high:.1f}"/>')
        if np.hypot(px - tx, py - ty) > 2:
            bars.append(
                f'<path class="lead" d="M{tx:.1f} {ty:.1f}L{px:.1f} {py:.1f}"/>'
                f'<circle class="spot" cx="{tx:.1f}" cy="{ty:.1f}" r="2"/>'
            )
        said = (
            f"{row.policy}: simulated {wording.percent(row.sim_rate)}, real {wording.percent(row.real_rate)}"
        )
        dot = f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}" r="{RADIUS if numbered else 4}"/>'
        if numbered:
            dot += f'<text class="on" x="{px:.1f}" y="{py + 3.2:.1f}">{getattr(row, "number", "")}</text>'
        parts.append(f"<g><title>{escape(said)}</title>{''.join(bars)}{dot}</g>")
    return "".join([*parts, "</svg>"])


def _frame(real_name: str) -> str:
    """Axes, grid, diagonal and the band of ten points on both sides of it."""
    ticks = np.linspace(0, 1, 6)
    grid = "".join(
        f'<path class="grid" d="M{a:.1f} {TOP}V{BOTTOM}"/><text x="{a:.1f}" y="{BOTTOM + 14}" '
        f'text-anchor="middle">{100 * t:.0f}</text>'
        for t, a in zip(ticks, _x(ticks), strict=True)
    )
    grid += "".join(
        f'<path class="grid" d="M{LEFT} {a:.1f}H{RIGHT}"/><text x="{LEFT - 6}" y="{a + 3.5:.1f}" '
        f'text-anchor="end">{100 * t:.0f}</text>'
        for t, a in zip(ticks, _y(ticks), strict=True)
    )
    (x0, x1), (y0, y1) = _x(np.array([0.0, 1.0])), _y(np.array([0.0, 1.0]))
    step = 0.1 * (x1 - x0)
    band = (
        f"M{x0:.1f} {y0:.1f}V{y0 - step:.1f}L{x1 - step:.1f} {y1:.1f}H{x1:.1f}V{y1 + step:.1f}L{x0 + step:.1f} "
        f"{y0:.1f}Z"
    )
    middle = (LEFT + RIGHT) / 2
    return (
        f'<path class="band" d="{band}"/>{grid}<path class="same" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>'
        f'<text x="{middle}" y="{SIZE - 8:.0f}" text-anchor="middle">{escape(real_name)}, success in %</text>'
        f'<text transform="translate(11 {(TOP + BOTTOM) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "simulated, success in %</text>"
    )


def interval_bars(*sides: tuple[str, float, float, float]) -> str:
    """Small lines from 0 to 100 % with a dot and its interval, one per side (class, rate, low, high).

    For a table that says the same in numbers, so it is hidden from screen readers; missing rates are left out.
    """
    known = [side for side in sides if not wording.missing(side[1])]
    if not known:
        return ""
    height = 4 + 8 * len(known)
    parts = [
        f'<svg class="bars" viewBox="0 0 112 {height}" aria-hidden="true">'
        f'<path class="grid" d="M6 1V{height - 1}M56 1V{height - 1}M106 1V{height - 1}"/>'
    ]
    for place, (kind, rate, low, high) in enumerate(known):
        y = 6 + 8 * place
        if not wording.missing(low):
            parts.append(f'<path class="{kind}" d="M{6 + 100 * low:.1f} {y}H{6 + 100 * high:.1f}"/>')
        parts.append(f'<circle class="{kind}" cx="{6 + 100 * rate:.1f}" cy="{y}" r="3.2"/>')
    return "".join([*parts, "</svg>"])
