"""What a verdict says: success, failure, or neither, and what is made of the last."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from real2sim.report.several_runs import one_set_per_world
from real2sim.wording import NO_OUTCOME, OUTCOMES

DEFAULT_SET = "policies"
Unclear = Literal["exclude", "failure"]
"""What an episode without a clear verdict is: left out of every rate, or a failure (the rule of Vid2World's paper)."""


def check_unclear(unclear: str) -> None:
    """Raise a ValueError for another word than `Unclear` knows."""
    if unclear not in get_args(Unclear):
        raise ValueError(f"unclear episodes can be {' or '.join(get_args(Unclear))}, got {unclear!r}")


def read_outcome(values: pd.Series, what: str, unclear: Unclear = "exclude") -> pd.Series:
    """Success as 1.0, 0.0 or missing; empty labels are missing, and ``unclear`` says what "unclear" is."""
    check_unclear(unclear)
    if values.dtype == bool:
        return values.astype(float)
    text = values.astype(str).str.strip().str.lower()
    missing = values.isna() | text.isin(NO_OUTCOME)
    out = text.map(OUTCOMES).astype(float)
    out[missing] = np.nan
    bad = values[out.isna() & ~missing]
    if len(bad):
        raise ValueError(f"{what}: expected true or false, found {bad.iloc[0]!r}")
    return out.mask(text == "unclear", 0.0) if unclear == "failure" else out


def without_verdict(frame: pd.DataFrame) -> pd.Series:
    """Which simulated episodes are unclear: labelled so, or judged (column ``judge``) without a verdict."""
    text = frame["success"].astype(str).str.strip().str.lower()
    judged = frame["success"].isna() & frame["judge"].notna() if "judge" in frame else False
    return (text == "unclear") | judged


def no_verdict_counts(episodes: pd.DataFrame) -> pd.DataFrame:
    """Episodes and those without a verdict: set, policy, task, episodes, no_verdict; empty for a table of rates.

    ``episodes`` are as given to the report; an episode that appears several times counts each time.
    """
    columns = ["set", "policy", "task", "episodes", "no_verdict"]
    if not {"success", *columns[1:3]} <= set(episodes.columns):
        return pd.DataFrame(columns=columns)
    frame = episodes.assign(silent=read_outcome(episodes["success"], "simulated episodes").isna())
    frame["set"] = frame["set"].fillna(DEFAULT_SET).astype(str) if "set" in frame else DEFAULT_SET
    frame, _ = one_set_per_world(frame)
    counts = frame.groupby(["set", "policy", "task"], sort=False, observed=True)["silent"].agg(
        ["size", "sum"]
    )
    return counts.reset_index().set_axis(columns, axis=1).astype({"no_verdict": int})
