"""Where simulation and reality differ: pairs ranked wrongly, episodes that disagree, length of rollouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from real2sim.report.rates import newcombe, wilson

PAIR_COLUMNS = [
    "set", "task", "better", "worse", "real_better", "real_worse", "sim_better", "sim_worse",
    "real_difference", "real_low", "real_high", "real_certain", "order",
]  # fmt: skip


def policy_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Every pair of policies on every task of a set: is the one that is better in reality also better here?

    ``order`` is "right", "wrong" or "tied" (equal in simulation); pairs that are equal in reality are left
    out.  ``real_certain`` says that the 95 % Newcombe interval of the real difference excludes 0.
    """
    rows = rows[rows["sim_rate"].notna() & rows["real_rate"].notna()]
    pairs: list[pd.DataFrame] = []
    for (name, task), group in rows.groupby(["set", "task"], sort=False):
        i, j = np.triu_indices(len(group), 1)
        real = group["real_rate"].to_numpy(float)
        swap = real[j] > real[i]
        i, j = np.where(swap, j, i), np.where(swap, i, j)
        keep = real[i] > real[j]
        i, j = i[keep], j[keep]
        low, high = group["real_low"].to_numpy(float), group["real_high"].to_numpy(float)
        sim, policy = group["sim_rate"].to_numpy(float), group["policy"].to_numpy()
        d_low, d_high = newcombe((real[i], low[i], high[i]), (real[j], low[j], high[j]))
        pairs.append(
            pd.DataFrame(
                {
                    "set": name,
                    "task": task,
                    "better": policy[i],
                    "worse": policy[j],
                    "real_better": real[i],
                    "real_worse": real[j],
                    "sim_better": sim[i],
                    "sim_worse": sim[j],
                    "real_difference": real[i] - real[j],
                    "real_low": d_low,
                    "real_high": d_high,
                    "real_certain": d_low > 0,
                    "order": np.select([sim[i] > sim[j], sim[i] < sim[j]], ["right", "wrong"], "tied"),
                }
            )
        )
    pairs = [pair for pair in pairs if len(pair)]
    return pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(columns=PAIR_COLUMNS)


@dataclass(frozen=True)
class EpisodePairs:
    """Simulated episodes joined with the real ones of the same policy, task and start frame."""

    pairs: pd.DataFrame
    """The simulated rows with ``real_success`` and ``agree`` (0/1)."""
    remarks: tuple[str, ...] = ()


def pair_episodes(episodes: pd.DataFrame, real_episodes: pd.DataFrame | None) -> EpisodePairs:
    """Join by policy, task and start; where reality ran a start several times, the mean outcome is compared.

    ``agree`` is then the share of the real repetitions with the simulated outcome.
    """
    empty = episodes.iloc[:0].assign(real_success=0.0, agree=0.0)
    if real_episodes is None:
        return EpisodePairs(empty)
    if "start" not in episodes:
        return EpisodePairs(empty, ("The simulated episodes have no column “start”; they cannot be paired.",))
    keys = ["policy", "task", "start"]
    real = (
        real_episodes.groupby(keys, sort=False, observed=True)["success"].agg(["mean", "count"]).reset_index()
    )
    real = real.rename(columns={"mean": "real_success", "count": "real_repetitions"})
    left = episodes.assign(start=episodes["start"].astype(str))
    joined = left.merge(real, on=keys, how="left", validate="m:1")
    joined.index = episodes.index
    pairs = joined[joined["real_success"].notna()].copy()
    pairs["agree"] = np.where(pairs["success"] == 1, pairs["real_success"], 1 - pairs["real_success"])
    remarks = []
    if len(pairs) < len(episodes):
        remarks.append(
            f"{len(episodes) - len(pairs)} of {len(episodes)} simulated episodes have no real episode with "
            f"the same "
            "policy, task and start frame; they count in the rates but not in the episode-by-episode "
            "comparison."
        )
    if len(pairs) and (pairs["real_repetitions"] > 1).any():
        remarks.append(
            "Some start frames were run several times in reality; their share of equal outcomes is used."
        )
    return EpisodePairs(pairs, tuple(remarks))


def shared_noise(pairs: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Covariance (n,) of the simulated and real rate of each comparison row, from the start frames they share.

    c · Σ m q / (n_sim n_real) with the covariance c of both outcomes over shared starts and, per start, m simulated
    and q real episodes.  0 where fewer than two starts are shared.
    """
    cell = ["set", "policy", "task"]
    if pairs.empty:
        return np.zeros(len(rows))
    starts = pairs.groupby([*cell, "start"], sort=False, observed=True).agg(
        sim=("success", "mean"),
        m=("success", "size"),
        real=("real_success", "first"),
        q=("real_repetitions", "first"),
    )
    starts = starts.assign(both=starts["sim"] * starts["real"], weight=starts["m"] * starts["q"], n=1)
    sums = starts.groupby(level=cell, sort=False, observed=True).sum()
    n = sums["n"].where(sums["n"] > 1)
    found = (sums["both"] - sums["sim"] * sums["real"] / n) / (n - 1) * sums["weight"]
    aligned = found.reindex(pd.MultiIndex.from_frame(rows[cell])).to_numpy(float)
    return np.nan_to_num(aligned / (rows["sim_episodes"] * rows["real_episodes"]).to_numpy(float))


def episode_agreement(pairs: pd.DataFrame, by: tuple[str, ...] = ("set", "task")) -> pd.DataFrame:
    """Share of paired episodes with the same outcome, with counts of both kinds of error and Wilson interval.

    ``chance`` is the agreement expected from the two success rates alone.
    """
    columns = [*by, "episodes", "same", "rate", "low", "high", "false_success", "false_failure", "chance"]
    if pairs.empty:
        return pd.DataFrame(columns=columns)
    work = pairs.assign(
        false_success=pairs["success"] * (1 - pairs["real_success"]),
        false_failure=(1 - pairs["success"]) * pairs["real_success"],
    )
    groups = work.groupby(list(by), sort=False, observed=True)
    out = groups.agg(
        episodes=("agree", "size"),
        same=("agree", "sum"),
        false_success=("false_success", "sum"),
        false_failure=("false_failure", "sum"),
        sim=("success", "mean"),
        real=("real_success", "mean"),
    ).reset_index()
    out["rate"] = out["same"] / out["episodes"]
    out["low"], out["high"] = wilson(out["same"].to_numpy(), out["episodes"].to_numpy())
    out["chance"] = out["sim"] * out["real"] + (1 - out["sim"]) * (1 - out["real"])
    return out[columns]


def worst_episodes(pairs: pd.DataFrame, rows: pd.DataFrame, count: int = 6) -> pd.DataFrame:
    """Paired episodes that show the largest gaps: the opposite outcome, in the direction of the gap, surest first.

    Where a policy looks too good in simulation these are simulated successes that fail in reality, and the
    other way round.  At most two per policy and task, so that one bad policy does not fill the list.
    """
    wrong = pairs[pairs["agree"] < 0.5]
    if wrong.empty:
        return wrong
    keys = pd.MultiIndex.from_frame(wrong[["set", "policy", "task"]])
    gap = rows.set_index(["set", "policy", "task"])["gap_points"].reindex(keys).to_numpy()
    wrong = wrong.assign(gap=np.abs(gap))[np.where(wrong["success"] == 1, gap > 0, gap < 0)]
    if "probability" in wrong:
        wrong["sure"] = (wrong["probability"] - wrong["real_success"]).abs()
    else:
        wrong["sure"] = 1.0
    wrong = wrong.sort_values(["gap", "sure"], ascending=False, kind="stable")
    return wrong[wrong.groupby(["set", "policy", "task"], sort=False).cumcount() < 2].head(count)


@dataclass(frozen=True)
class LengthTrust:
    """Agreement by episode length, and what follows from it."""

    table: pd.DataFrame
    horizon: int | None
    """Longest length (steps) up to which nothing speaks against trusting the simulator; None if undecided."""
    statement: str


def agreement_by_length(pairs: pd.DataFrame, target: float = 0.9, bins: int = 5) -> LengthTrust:
    """Agreement per bin of ``steps``, and the length past which it is below ``target``.

    Bins hold about equally many episodes.  A bin speaks against the simulator when its Wilson interval, at a
    level shared among the bins (Šidák), lies below ``target``.
    """
    columns = ["length", "shortest", "longest", "episodes", "same", "rate", "low", "high"]
    empty = pd.DataFrame(columns=columns)
    if pairs.empty:
        return LengthTrust(empty, None, "No paired real episodes, so agreement by length is not known.")
    if "steps" not in pairs or pairs["steps"].isna().all():
        return LengthTrust(empty, None, "The episodes do not say how many steps they have.")
    known = pairs[pairs["steps"].notna()]
    steps = known["steps"].astype(int)
    ends = np.unique(np.quantile(steps, np.linspace(0, 1, bins + 1)[1:], method="higher").astype(int))
    group = np.searchsorted(ends, steps.to_numpy(), side="left")
    found = known.assign(bin=group, steps=steps).groupby("bin")
    out = found.agg(
        shortest=("steps", "min"), longest=("steps", "max"), episodes=("agree", "size"), same=("agree", "sum")
    ).reset_index(drop=True)
    out["length"] = [
        str(a) if a == b else f"{a}–{b}" for a, b in zip(out["shortest"], out["longest"], strict=True)
    ]
    out["rate"] = out["same"] / out["episodes"]
    out["low"], out["high"] = wilson(out["same"].to_numpy(), out["episodes"].to_numpy())
    _, upper = wilson(out["same"].to_numpy(), out["episodes"].to_numpy(), 0.95 ** (1 / len(out)))
    below = np.flatnonzero(upper < target)
    goal = f"{100 * target:.0f} %"
    if len(out) == 1:
        end = int(out["longest"].iloc[0])
        fine = len(below) == 0
        words = (
            f"All paired episodes have {out['length'].iloc[0]} steps, so a trend with length cannot be seen."
        )
        return LengthTrust(out[columns], end if fine else None, words)
    if len(below) == 0:
        end = int(out["longest"].iloc[-1])
        words = (
            f"At no length up to {end} steps is agreement shown to be below {goal}; nothing is known beyond."
        )
        return LengthTrust(out[columns], end, words)
    first = int(below[0])
    if first == 0:
        words = (
            f"Agreement is below {goal} already for the shortest episodes ({out['length'].iloc[0]} steps)."
        )
        return LengthTrust(out[columns], None, words)
    end = int(out["longest"].iloc[first - 1])
    words = f"Past {end} steps agreement is shown to be below {goal}; do not trust longer episodes."
    return LengthTrust(out[columns], end, words)
