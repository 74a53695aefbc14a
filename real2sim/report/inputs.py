"""What the report accepts: episode tables, real rates, real episodes; checked once, here.

Everything after this module works on tidy frames with known columns.  What had to be left out is not
silently lost: each function also returns plain sentences for the page's list of remarks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from real2sim.report.outcomes import DEFAULT_SET, Unclear, check_unclear, read_outcome, without_verdict
from real2sim.report.several_runs import (
    check_families,
    each_episode_once,
    effective_episodes,
    one_judge,
    one_set_per_world,
    same_weights,
)
from real2sim.report.tables import (
    FILE,
    check_columns,
    named,
    plain_rows,
    read_frame,
    read_numbers,
    read_seeds,
    require,
)
from real2sim.report.wording import listing
from real2sim.spreadsheets import MOST, check_no_sum, rate_fits

EPISODE_COLUMNS = ("policy", "task", "success")
NO_FAMILIES = (
    "The {} not say which policies are checkpoints of one training run (no column “family”); every policy is "
    "counted as independent, which is too kind if some are not."
)


def _check_range(frame: pd.DataFrame, column: str, what: str) -> None:
    """ValueError where a number of an episode is below 0, or a probability above 1."""
    highest = 1.0 if column == "probability" else np.inf
    wrong = frame[(frame[column] < 0) | (frame[column] > highest)]
    if len(wrong):
        row = wrong.iloc[0]
        allowed = "between 0 and 1" if column == "probability" else "at least 0"
        raise ValueError(
            f"{named(frame, what)}: {column} of {row['policy']} on {row['task']} is "
            f"{row[column]:g}, it must be {allowed}"
        )


def read_episodes(episodes: pd.DataFrame, unclear: Unclear = "exclude") -> tuple[pd.DataFrame, list[str]]:
    """Scored simulated episodes, one row each, and remarks.

    Columns afterwards: set, policy, family, task, start, seed, success (0/1) and whatever else was there.
    Without ``set`` all episodes are one set; without ``family`` every policy counts as its own training run.

    Raises:
        ValueError: if policy, task or success is missing as a column.
    """
    check_unclear(unclear)
    check_columns(episodes, "simulated episodes")
    if (
        "success" not in episodes
        and {"policy", "task"} <= set(episodes.columns)
        and FILE not in episodes.attrs
    ):
        raise ValueError("the simulated episodes have no verdicts (column success); score the run first")
    require(episodes, EPISODE_COLUMNS, "the table of simulated episodes")
    frame = episodes.copy()
    remarks: list[str] = []
    for column in ("steps", "frame_passes", "seconds", "probability"):
        if column in frame:
            frame[column] = read_numbers(frame, column, "simulated episodes")
            _check_range(frame, column, "simulated episodes")
    if "seed" in frame:
        frame["seed"] = read_seeds(frame["seed"], "simulated episodes")
    open_cases = without_verdict(frame)
    frame["success"] = read_outcome(frame["success"], "simulated episodes")
    if "valid" in frame:
        # Text in a table that somebody wrote; what the gate itself says is a truth value or missing already.
        frame["valid"] = read_outcome(frame["valid"], "simulated episodes, column valid").map(
            {1.0: True, 0.0: False}
        )
    if unclear == "failure" and open_cases.any():
        frame["success"] = frame["success"].mask(open_cases, 0.0)
        remarks.append(
            f"{int(open_cases.sum())} of {len(frame)} simulated episodes have no clear verdict and count as failures, "
            "as in Vid2World's paper."
        )
    unscored = int(frame["success"].isna().sum())
    if unscored:
        per_policy = frame.groupby(frame["policy"].astype(str))["success"].agg(["size", "count"])
        silent = per_policy[per_policy["count"] < per_policy["size"]]
        counted = [
            f"{policy} {row['size'] - row['count']} of {row['size']}" for policy, row in silent.iterrows()
        ]
        remarks.append(
            f"{unscored} of {len(frame)} simulated episodes have no verdict, because they were not scored or their "
            f"frames are unlike any that the judge was taught on; they are left out: {listing(counted)}."
        )
        frame = frame[frame["success"].notna()]
    for column in ("policy", "task"):
        unnamed = int(frame[column].isna().sum())
        if unnamed:
            raise ValueError(
                f"{unnamed} of {len(frame)} simulated episodes name no {column}; fill the column or leave them out"
            )
        frame[column] = frame[column].astype(str)
    if "set" not in frame:
        frame["set"] = DEFAULT_SET
    frame["set"] = frame["set"].fillna(DEFAULT_SET).astype(str)
    if "family" not in frame:
        frame["family"] = frame["policy"]
        if len(frame):
            remarks.append(NO_FAMILIES.format("episodes do"))
    frame["family"] = frame["family"].where(frame["family"].notna(), frame["policy"]).astype(str)
    check_families(frame, named(frame, "simulated episodes"))
    for step in (one_set_per_world, one_judge, each_episode_once, same_weights):
        frame, more = step(frame)
        remarks += more
    return frame.reset_index(drop=True), remarks


def _from_published(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """Counts from a table of rates (columns success_rate or rate, n_trials or episodes)."""
    frame = frame.rename(columns={"success_rate": "rate", "n_trials": "episodes"})
    frame["rate"] = read_numbers(frame, "rate", what)
    frame["episodes"] = read_numbers(frame, "episodes", what) if "episodes" in frame else np.nan
    _check_whole(frame, "episodes", what)
    frame["successes"] = (frame["rate"] * frame["episodes"]).round()
    return frame


def _check_whole(frame: pd.DataFrame, column: str, what: str) -> None:
    broken = frame[frame[column].notna() & (frame[column] % 1 != 0)]
    if len(broken):
        row = broken.iloc[0]
        raise ValueError(
            f"{named(frame, what)}: {column} of {row['policy']} on {row['task']} is {row[column]:g}, "
            "expected a whole number"
        )
    many = frame[frame[column] > MOST]
    if len(many):
        row = many.iloc[0]
        raise ValueError(
            f"{named(frame, what)}: {column} of {row['policy']} on {row['task']} is {row[column]:g}, "
            f"expected at most {MOST} episodes"
        )


def _check_rates(frame: pd.DataFrame, what: str, counted: bool) -> None:
    """ValueError where a rate is not that of its counts, or of no count, to the digits it has, six at most."""
    for row in frame.itertuples():
        if not (row.episodes > 0 and 0 <= row.rate <= 1) or (counted and np.isnan(row.successes)):
            continue
        if not rate_fits(f"{row.rate:.6g}", row.rate, row.successes if counted else np.nan, row.episodes):
            said = f"{row.successes:g} of" if counted else "no whole number of successes in"
            raise ValueError(
                f"{named(frame, what)}: the rate of {row.policy} on {row.task} is {row.rate:g}, which is {said} "
                f"{row.episodes:g} episodes; correct the rate or the counts"
            )


def read_rates(rates: pd.DataFrame | Path | str, what: str = "real rates") -> tuple[pd.DataFrame, list[str]]:
    """Success rates of one world, one row per policy and task, and remarks.

    Accepts counts (policy, task, successes, episodes) or published rates (policy, task, success_rate,
    n_trials); a published rate is kept to its last digit and its count is the nearest whole number.  Where
    n_trials is empty the rate is used without an interval.  Of a ``subtask`` column only the rows "all" are
    used, if there are such rows.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if columns are missing, a rate lies outside [0, 1], successes exceed episodes, or a
            policy and task appear twice.
    """
    frame = read_frame(rates, what)
    remarks: list[str] = []
    require(frame, ("policy", "task"), f"the table of {what}")
    if "subtask" in frame and (frame["subtask"] == "all").any():
        frame = frame[frame["subtask"] == "all"].copy()
    if "successes" in frame and "n_trials" in frame:
        frame = frame.rename(columns={"n_trials": "episodes"})
    if "successes" in frame and "episodes" in frame:
        for column in ("successes", "episodes"):
            frame[column] = read_numbers(frame, column, what)
            _check_whole(frame, column, what)
        counted = frame["successes"] / frame["episodes"].where(frame["episodes"] > 0)
        frame = frame.rename(columns={"success_rate": "rate"})
        if "rate" in frame:
            frame["rate"] = read_numbers(frame, "rate", what).fillna(counted)
            _check_rates(frame, what, counted=True)
        else:
            frame["rate"] = counted
    elif "success_rate" in frame or "rate" in frame:
        frame = _from_published(frame, what)
        _check_rates(frame, what, counted=False)
    else:
        require(frame, ("policy", "task", "successes", "episodes"), f"the table of {what}")
    frame["policy"], frame["task"] = frame["policy"].astype(str), frame["task"].astype(str)
    for column in ("policy", "task"):
        for name in frame[column].unique():
            check_no_sum(name, f"{named(frame, what)}: a {column}")
    wrong = frame[
        (frame["successes"] > frame["episodes"]) | (frame["successes"] < 0) | (frame["episodes"] < 0)
    ]
    wrong = pd.concat([wrong, frame[(frame["rate"] < 0) | (frame["rate"] > 1)]])
    if len(wrong):
        row = wrong.iloc[0]
        counts = f"{row['successes']:g} successes in {row['episodes']:g} episodes, rate {row['rate']:g}"
        found = f"a rate of {row['rate']:g}" if pd.isna(row["episodes"]) else counts
        raise ValueError(
            f"{named(frame, what)}: {row['policy']} on {row['task']} has {found}; a rate must lie between 0 and 1"
        )
    twice = frame[frame.duplicated(["policy", "task"])]
    if len(twice):
        row = twice.iloc[0]
        raise ValueError(
            f"{named(frame, what)}: {row['policy']} on {row['task']} appears more than once; give one row each"
        )
    empty = frame[(frame["episodes"] == 0) | frame["rate"].isna()]
    for row in empty.itertuples():
        remarks.append(
            f"The {what} hold no episode of {row.policy} on {row.task}; it is treated as not measured."
        )
    frame = frame.drop(index=empty.index)
    columns = ["policy", "task", "successes", "episodes", "rate"]
    return frame[columns + [c for c in ("source",) if c in frame]].reset_index(drop=True), remarks


def read_simulated(
    simulated: pd.DataFrame, unclear: Unclear = "exclude"
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Simulated rates (set, policy, family, task, successes, episodes, rate), episodes, and remarks.

    Rates alone (a published table) are taken as well; there are then no episodes.
    """
    if not isinstance(simulated, pd.DataFrame):
        raise ValueError(
            f"the simulated episodes are a {type(simulated).__name__}, expected a table (pandas.DataFrame)"
        )
    check_columns(simulated, "simulated episodes")
    simulated = plain_rows(simulated)
    if "success" in simulated or not {"successes", "success_rate", "rate"} & set(simulated.columns):
        episodes, remarks = read_episodes(simulated, unclear)
        return simulated_rates(episodes), episodes, remarks
    rates, remarks = read_rates(simulated, "simulated rates")
    if rates.empty and len(simulated):
        raise ValueError(
            f"{named(simulated, 'simulated rates')}: none of its {len(simulated)} rows has a rate or an episode, so "
            "there is nothing to report; fill them in"
        )
    keys = simulated.drop_duplicates(["policy", "task"]).astype({"policy": str, "task": str})
    extra = [column for column in ("set", "family") if column in simulated]
    rates = rates.merge(keys[["policy", "task", *extra]], on=["policy", "task"], how="left")
    if "family" not in rates and len(rates):
        remarks.append(NO_FAMILIES.format("table of simulated rates does"))
    for column, default in (("set", DEFAULT_SET), ("family", rates["policy"])):
        rates[column] = rates[column].fillna(default).astype(str) if column in rates else default
    check_families(rates, named(simulated, "simulated rates"))
    remarks.append(
        "Only simulated rates were given, not episodes: nothing is ranked, paired or shown as film."
    )
    empty = pd.DataFrame(columns=["set", "policy", "family", "task", "success"]).astype({"success": float})
    return rates, empty, remarks


def simulated_rates(episodes: pd.DataFrame) -> pd.DataFrame:
    """Simulated rates (set, policy, family, task, successes, episodes, rate, effective) of scored episodes."""
    rates = success_counts(episodes, ["set", "policy", "family", "task"])
    worth = effective_episodes(episodes).reindex(pd.MultiIndex.from_frame(rates[["set", "policy", "task"]]))
    return rates.assign(effective=worth.to_numpy(float))


def success_counts(episodes: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Successes, episodes and rate per group of scored episodes."""
    counts = episodes.groupby(keys, sort=False, observed=True)["success"].agg(["sum", "count"]).reset_index()
    frame = counts.rename(columns={"sum": "successes", "count": "episodes"})
    frame["successes"] = frame["successes"].astype(float)
    frame["rate"] = frame["successes"] / frame["episodes"].where(frame["episodes"] > 0)
    return frame


def read_real_episodes(
    table: pd.DataFrame | Path | str, unclear: Unclear = "exclude"
) -> tuple[pd.DataFrame, list[str]]:
    """Real episodes (policy, task, start, success 0/1), and remarks; ``unclear`` as for simulated ones."""
    frame = read_frame(table, "real episodes")
    require(frame, ("policy", "task", "start", "success"), "the table of real episodes")
    open_cases = frame["success"].astype(str).str.strip().str.lower() == "unclear"
    frame["success"] = read_outcome(frame["success"], "real episodes", unclear)
    remarks: list[str] = []
    if unclear == "failure" and open_cases.any():
        remarks.append(f"{int(open_cases.sum())} real episodes are labelled unclear and count as failures.")
    unknown = int(frame["success"].isna().sum())
    if unknown:
        remarks.append(f"{unknown} real episodes have no outcome and are left out.")
        frame = frame[frame["success"].notna()]
    for column in ("policy", "task", "start"):
        frame[column] = frame[column].astype(str)
    return frame.reset_index(drop=True), remarks
