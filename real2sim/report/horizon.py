"""The horizon H*: up to how many steps the judged outcome may be taken for what really happens.

An episode is cut at several lengths; at each, the judge's verdict on the simulated frames so far stands beside what
really is the case after the same actions (physics, or a recording whose outcome is known along the way).
"""

from __future__ import annotations

import pandas as pd

from real2sim.report.gaps import LengthTrust
from real2sim.report.outcomes import read_outcome
from real2sim.report.rates import wilson
from real2sim.report.tables import named, require

COLUMNS = ("policy", "task", "steps", "success", "real_success")
TARGET = 0.9
"""Least share of equal outcomes that has to be shown."""
FEWEST_OF_EACH = 5
"""Fewest real successes and failures at a length with which agreement there says something."""


def read_cut_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Outcomes of cut episodes: policy, task, steps, success, real_success (0/1); rows without a verdict are left out.

    Raises:
        ValueError: if a column is missing or holds something else than whole steps, true and false.
    """
    require(table, COLUMNS, "the table of outcomes along the way")
    frame, what = table.copy(), named(table, "outcomes along the way")
    for column in ("success", "real_success"):
        frame[column] = read_outcome(frame[column], f"{what}, {column}")
    steps = pd.to_numeric(frame["steps"], errors="coerce")
    bad = steps.isna() | (steps < 1) | (steps % 1 != 0)
    if bad.any():
        raise ValueError(
            f"{what}: steps must be whole numbers of at least 1, found {frame['steps'][bad].iloc[0]!r}"
        )
    frame["steps"] = steps.astype(int)
    return frame[frame["success"].notna() & frame["real_success"].notna()]


def agreement_by_horizon(cut: pd.DataFrame, target: float = TARGET) -> LengthTrust:
    """Agreement at every length, and H*: the longest one up to which at least ``target`` is shown.

    The lower ends of the Wilson intervals hold at all lengths at once (Šidák).  Lengths at which nearly all episodes
    are still failures (or already successes) agree without any merit: they are shown, and not counted for H*.
    """
    cut = cut.assign(agree=(cut["success"] == cut["real_success"]).astype(float))
    out = cut.groupby("steps", sort=True).agg(
        episodes=("agree", "size"), same=("agree", "sum"), real=("real_success", "sum"), sim=("success", "mean")
    ).reset_index()  # fmt: skip
    n = out["episodes"].to_numpy(float)
    out["rate"] = out["same"] / out["episodes"]
    out["low"], out["high"] = wilson(out["same"].to_numpy(), n, 0.95 ** (1 / max(len(out), 1)))
    real = out["real"] / out["episodes"]
    out["chance"] = out["sim"] * real + (1 - out["sim"]) * (1 - real)
    out["informative"] = (out["real"] >= FEWEST_OF_EACH) & (out["episodes"] - out["real"] >= FEWEST_OF_EACH)
    out["length"], out["shortest"], out["longest"] = out["steps"].astype(str), out["steps"], out["steps"]
    counted = out[out["informative"]]
    goal = f"{100 * target:.0f} %"
    if counted.empty:
        words = "Outcomes along the way say nothing of the horizon: at every length nearly all real episodes end alike."
        return LengthTrust(out, None, words)
    held = (counted["low"] >= target).cummin()
    known = f"{int(counted['episodes'].min())} episodes or more at each of {len(out)} lengths"
    if not held.any():
        first = counted.iloc[0]
        words = (
            f"No horizon can be assumed: already at {first['steps']} steps an agreement of {goal} with reality is not "
            f"shown ({100 * first['rate']:.0f} % of {first['episodes']:.0f} cut episodes, at least "
            f"{100 * first['low']:.0f} %)."
        )
        return LengthTrust(out, None, words)
    end = int(counted["steps"][held].iloc[-1])
    words = f"H* = {end} steps: up to there at least {goal} of outcomes agree with reality ({known})"
    longest = int(out["steps"].iloc[-1])
    words += "; nothing is known beyond." if end == longest else "; past it, agreement may not be assumed."
    return LengthTrust(out, end, words)
