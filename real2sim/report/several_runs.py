"""What belongs together when a report covers several runs: worlds, judges, seeds, and policies by their weights.

Each function takes the table of episodes and gives it back, with remarks on what was left out or joined.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from real2sim.report.wording import listing


def one_set_per_world(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Episodes of other worlds are sets of their own: ``policies in <world>``."""
    if "world" not in frame or frame["world"].nunique() < 2:
        return frame, []
    worlds = [str(world) for world in frame["world"].dropna().unique()]
    inside = frame["world"].notna()
    names = frame["set"].where(~inside, frame["set"] + " in " + frame["world"].astype(str))
    words = f"The episodes come from {len(worlds)} worlds ({listing(worlds)}); each is reported as a set of its own."
    return frame.assign(set=names), [words]


def one_judge(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One judge per set: where several scored a set, the one with most verdicts."""
    if "judge" not in frame or frame["judge"].nunique() < 2:
        return frame, []
    counts = frame.groupby(["set", "judge"], sort=False, observed=True).size()
    chosen = {name: counts[name].idxmax() for name in counts.index.unique("set")}
    used = frame["judge"] == frame["set"].map(chosen)
    others = [str(judge) for judge in frame.loc[~used, "judge"].dropna().unique()]
    names = list(dict.fromkeys(str(judge) for judge in chosen.values()))
    if not others:
        return frame, [f"The sets were scored by different judges: {listing(names)}."]
    words = (
        f"Several judges scored these episodes; the verdicts of {listing(names)} are used, those of "
        f"{listing(others)} are not."
    )
    return frame[used], [words]


def each_episode_once(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Rows that repeat an episode are dropped; runs that differ in seed or world have episodes of their own.

    An id that several runs use is made unique by the seed, and by the world where that differs too.
    """
    if "episode" not in frame:
        return frame, []
    parts = [column for column in ("seed", "world") if column in frame]
    repeated = frame.duplicated(["episode", *parts])
    remarks = []
    if repeated.any():
        remarks.append(
            f"{int(repeated.sum())} episodes appear more than once (same id{', seed' if 'seed' in parts else ''}"
            f"{', world' if 'world' in parts else ''}); the first row of each is used."
        )
        frame = frame[~repeated]
    ids = frame["episode"].astype(str)
    shared = ids.duplicated(keep=False)
    for column in parts:
        if not shared.any():
            break
        ids = ids.where(~shared, ids + f" {column} " + frame[column].astype(str))
        shared = ids.duplicated(keep=False)
    return frame.assign(episode=ids), remarks


def check_families(frame: pd.DataFrame, what: str) -> None:
    """ValueError where a policy of one set belongs to several training runs (column ``family``)."""
    pairs = frame[["set", "policy", "family"]].drop_duplicates()
    twice = pairs[pairs.duplicated(["set", "policy"])]
    if len(twice):
        name, family = twice["policy"].iloc[0], twice["family"].iloc[0]
        other = pairs["family"][(pairs["policy"] == name) & (pairs["set"] == twice["set"].iloc[0])].iloc[0]
        raise ValueError(
            f"{what}: policy {name!r} has the family {other!r} in one row and {family!r} in another; give it one, or "
            "leave the column out"
        )


def same_weights(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Policies with identical weights (column ``weights``) are one training run, whatever they are called.

    Raises:
        ValueError: if one policy name stands for different weights.
    """
    if "weights" not in frame:
        return frame, []
    known = frame[frame["weights"].notna()].drop_duplicates(["policy", "weights"])
    twice = known[known.duplicated("policy")]
    if len(twice):
        name = twice["policy"].iloc[0]
        where = known[known["policy"] == name]
        runs = f" ({listing([str(run) for run in where['run']])})" if "run" in where else ""
        raise ValueError(
            f"policy {name!r} has other weights in one run than in another{runs}; "
            "give the two policies different names, or report on the runs one by one"
        )
    remarks, family = [], frame["family"]
    for _, group in known.groupby("weights", sort=False):
        names = [str(name) for name in group["policy"]]
        if len(names) > 1:
            remarks.append(
                f"{listing(names)} have identical weights: they are one policy under {len(names)} names and count "
                "as one training run."
            )
            family = family.where(~family.isin(group["family"]), group["family"].iloc[0])
    return frame.assign(family=family), remarks


def effective_episodes(episodes: pd.DataFrame) -> pd.Series:
    """How many independent episodes those of each set, policy and task are worth; indexed by these three.

    A start that is simulated with several seeds gives outcomes that resemble each other: n episodes are worth
    n / (1 + (m - 1) · icc), with m episodes per start (weighted by themselves) and the intraclass correlation of
    outcomes within starts, estimated by analysis of variance over all policies and tasks of the set and never below
    0 (Kish 1965; Donner & Klar 2000).  With one episode per start, or without starts, that is n.
    """
    cell = ["set", "policy", "task"]
    sizes = episodes.groupby(cell, sort=False, observed=True).size().astype(float)
    if "start" not in episodes or episodes["start"].isna().any() or episodes.empty:
        return sizes
    starts = episodes.groupby([*cell, "start"], sort=False, observed=True)["success"].agg(["mean", "size"])
    if (starts["size"] == 1).all():
        return sizes
    starts = starts.reset_index().astype({"size": float})
    starts["square"] = starts["size"] ** 2
    by_cell = starts.groupby(cell, sort=False, observed=True)
    starts["centre"] = by_cell["mean"].transform("mean")
    out = []
    for _, group in starts.groupby("set", sort=False):
        total, n, cells = (
            group["size"].sum(),
            len(group),
            group.groupby(["policy", "task"], observed=True).ngroups,
        )
        within = float((group["size"] * group["mean"] * (1 - group["mean"])).sum())
        between = float((group["size"] * (group["mean"] - group["centre"]) ** 2).sum())
        per_cell = group.groupby(cell, sort=False, observed=True)[["square", "size"]].sum()
        mean_size = (per_cell["square"] / per_cell["size"]).rename("mean_size")
        if n <= cells or total <= n:
            icc = 0.0 if total <= n else 1.0
        else:
            a, b = between / (n - cells), within / (total - n)
            usual = (total - mean_size.sum()) / (n - cells)
            # Negative where outcomes of one start are less alike than those of several.
            below = a + (usual - 1) * b
            icc = float(np.clip((a - b) / below, 0, 1)) if below > 0 else 0.0
        out.append(per_cell["size"] / (1 + (mean_size - 1) * icc))
    return pd.concat(out).reindex(sizes.index)


def with_worth(rates: pd.DataFrame, episodes: pd.DataFrame) -> pd.DataFrame:
    """Real rates with column ``effective``: what their trials are worth where starts were run several times."""
    if "start" not in episodes or not episodes.duplicated(["policy", "task", "start"]).any():
        return rates
    worth = effective_episodes(episodes.assign(set="real")).droplevel("set")
    share = worth / episodes.groupby(["policy", "task"], sort=False, observed=True).size()
    ratio = share.reindex(pd.MultiIndex.from_frame(rates[["policy", "task"]])).fillna(1.0).to_numpy()
    return rates.assign(effective=rates["episodes"] * ratio)


def repeated_starts(sim: pd.DataFrame) -> list[str]:
    """What repeated starts mean for the intervals, as a remark."""
    if "effective" not in sim or not (sim["effective"] < sim["episodes"] * (1 - 1e-9)).any():
        return []
    share = float(sim["effective"].sum() / sim["episodes"].sum())
    return [
        "Start frames were simulated several times. Outcomes from the same start resemble each other, so "
        f"{sim['episodes'].sum():.0f} episodes are worth {share * sim['episodes'].sum():.0f} independent ones; "
        "intervals and tests of rates use that."
    ]
