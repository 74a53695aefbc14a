"""Figures of the report: each draws on ``ax`` (a new one if None) and returns it; none saves or shows.

Points are numbered; the numbers are the rows of the table of rates, so that twenty policies stay readable on
a phone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NUMBERED = 45
"""Beyond this many policies dots are small and carry no number."""
SIM, REAL, INK, FAINT = "#c2410c", "#1d4ed8", "#1f2937", "#9ca3af"


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def _bare(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(colors=INK, length=3)


def plain_text(text: object) -> str:
    """A name as it is written: a dollar sign would begin a formula in matplotlib."""
    return str(text).replace("$", r"\$")


def _statement(ax: Axes, text: str) -> Axes:
    """An axes that says why there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", wrap=True, color=INK, transform=ax.transAxes)
    return ax


def plot_scatter(
    rows: pd.DataFrame, ax: Axes | None = None, real_name: str = "real", title: str = ""
) -> Axes:
    """Simulated over real rate of one task, 95 % Wilson bars, numbered as in ``rows['number']``."""
    ax = _axes(ax, 4.4, 4.4)
    rows = rows[rows["sim_rate"].notna() & rows["real_rate"].notna()]
    if rows.empty:
        return _statement(ax, "no policy was measured\nin both worlds")
    x, y = 100 * rows["real_rate"].to_numpy(), 100 * rows["sim_rate"].to_numpy()
    ax.fill_between([0, 100], [-10, 90], [10, 110], color=FAINT, alpha=0.15, lw=0)
    ax.plot([0, 100], [0, 100], color=FAINT, lw=1)
    sides = []
    for world, values in (("real", x), ("sim", y)):
        low, high = 100 * rows[f"{world}_low"].to_numpy(), 100 * rows[f"{world}_high"].to_numpy()
        sides.append(np.nan_to_num(np.vstack([values - low, high - values]).clip(min=0)))
    ax.errorbar(x, y, xerr=sides[0], yerr=sides[1], fmt="none", ecolor="#94a3b8", elinewidth=1, capsize=0)
    numbers = rows["number"] if "number" in rows else pd.Series(range(1, len(rows) + 1), index=rows.index)
    readable = len(rows) <= MOST_NUMBERED
    ax.scatter(x, y, s=130 if readable else 20, color=SIM, edgecolor="white", linewidth=0.8, zorder=3)
    for a, b, number in zip(x, y, numbers if readable else [], strict=readable):
        ax.annotate(
            str(number), (a, b), ha="center", va="center_baseline", color="white", fontsize=7.5, zorder=4
        )
    ax.set(xlim=(-4, 104), ylim=(-4, 104), aspect="equal")
    ax.set_xlabel(f"{plain_text(real_name)}, success in %")
    ax.set_ylabel("simulated, success in %")
    ax.set_title(plain_text(title), fontsize=11, color=INK)
    _bare(ax)
    return ax


def plot_rates(rows: pd.DataFrame, ax: Axes | None = None, real_name: str = "real", title: str = "") -> Axes:
    """Both rates of every policy on one task, as dots with 95 % Wilson intervals."""
    ax = _axes(ax, 5.2, 1.2 + 0.34 * max(len(rows), 1))
    if rows.empty:
        return _statement(ax, "no episodes")
    place = np.arange(len(rows))[::-1].astype(float)
    for world, colour, shift, label in (("real", REAL, 0.14, real_name), ("sim", SIM, -0.14, "simulated")):
        rate = 100 * rows[f"{world}_rate"].to_numpy(float)
        low, high = 100 * rows[f"{world}_low"].to_numpy(float), 100 * rows[f"{world}_high"].to_numpy(float)
        ax.hlines(place + shift, low, high, color=colour, lw=2, alpha=0.45)
        ax.plot(rate, place + shift, "o", color=colour, ms=5, label=plain_text(label))
    names = (
        [f"{n}  {plain_text(p)}" for n, p in zip(rows["number"], rows["policy"], strict=True)]
        if "number" in rows
        else None
    )
    ax.set_yticks(place, names or [plain_text(p) for p in rows["policy"]])
    ax.set(xlim=(-3, 103), xlabel="success in %")
    ax.set_title(plain_text(title), fontsize=11, color=INK)
    ax.legend(loc="lower center", ncols=2, frameon=False, fontsize=8, borderaxespad=0.3, borderpad=0.1)
    ax.set_ylim(-1.3, len(rows) - 0.4)
    ax.grid(axis="x", color=FAINT, alpha=0.25)
    _bare(ax)
    return ax


def plot_gaps(rows: pd.DataFrame, ax: Axes | None = None, title: str = "") -> Axes:
    """Heat map of simulated minus real rate in points, policies down, tasks across."""
    tasks, policies = list(dict.fromkeys(rows["task"])), list(dict.fromkeys(rows["policy"]))
    ax = _axes(ax, 3.0 + 0.9 * len(tasks), 1.2 + 0.34 * max(len(policies), 1))
    table = rows.pivot_table(index="policy", columns="task", values="gap_points", dropna=False)
    table = table.reindex(index=policies, columns=tasks)
    values = table.to_numpy(float)
    if values.size == 0 or np.isnan(values).all():
        return _statement(ax, "no gap: no policy was measured\nin both worlds")
    limit = max(20.0, float(np.nanmax(np.abs(values))))
    shown = np.ma.masked_invalid(values)
    ax.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        text = "not\nmeasured" if np.isnan(value) else f"{value:+.0f}"
        strong = not np.isnan(value) and abs(value) > 0.6 * limit
        ax.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            fontsize=6 if np.isnan(value) else 9,
            color="white" if strong else INK,
        )
    numbers = dict(zip(rows["policy"], rows["number"], strict=True)) if "number" in rows else {}
    ax.set_yticks(
        range(len(policies)),
        [f"{numbers[p]}  {plain_text(p)}" if numbers else plain_text(p) for p in policies],
    )
    ax.set_xticks(
        range(len(tasks)), [plain_text(task).replace("_", "\n", 1).replace("_", " ") for task in tasks]
    )
    ax.tick_params(length=0, colors=INK)
    ax.spines[:].set_visible(False)
    ax.set_title(title or "simulated minus real, points", fontsize=11, color=INK)
    return ax


def plot_by_length(table: pd.DataFrame, ax: Axes | None = None, target: float = 0.9) -> Axes:
    """Share of episodes whose outcome agrees with reality, by episode length, with Wilson intervals."""
    ax = _axes(ax, 5.2, 3.4)
    if table.empty:
        return _statement(ax, "no paired episodes")
    place = np.arange(len(table))
    rate, low, high = (100 * table[c].to_numpy(float) for c in ("rate", "low", "high"))
    ax.axhline(100 * target, color=FAINT, lw=1, ls="--")
    ax.vlines(place, low, high, color=REAL, lw=2, alpha=0.5)
    ax.plot(place, rate, "o", color=REAL)
    ax.set_xticks(
        place, [f"{label}\nn={n}" for label, n in zip(table["length"], table["episodes"], strict=True)]
    )
    ax.tick_params(axis="x", labelsize=8)
    ax.set(ylim=(-3, 103), xlabel="length of the simulated episode (steps)", ylabel="same outcome, %")
    ax.set_xlim(-0.6, len(table) - 0.4)
    _bare(ax)
    return ax
