"""Agreement at each scope of a set: pooled over its rates, over averages of tasks, and per task."""

from __future__ import annotations

import pandas as pd

from real2sim.report.agreement import Agreement, agreement, worth
from real2sim.report.true_rates import binomial_noise

POOLED, AVERAGE = "pooled", "task average"


def numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by set and mean real rate (simulated, where reality is unknown), with a ``number`` per policy."""
    order: list[pd.DataFrame] = []
    for _, group in rows.groupby("set", sort=False):
        mean = group.groupby("policy", sort=False)[["real_rate", "sim_rate"]].mean()
        mean["key"] = mean["real_rate"].fillna(mean["sim_rate"])
        ranked = list(mean.sort_values("key", ascending=False, kind="stable").index)
        place = {policy: i + 1 for i, policy in enumerate(ranked)}
        group = group.assign(number=group["policy"].map(place))
        order.append(group.sort_values(["number", "task"], kind="stable"))
    return pd.concat(order, ignore_index=True) if order else rows.assign(number=pd.Series(dtype=int))


def task_averages(rows: pd.DataFrame) -> pd.DataFrame:
    """Each policy's mean over the tasks that every compared policy has, as one comparison row.

    Counts are summed; they are exact where every task has as many episodes.
    """
    rows = rows[rows["sim_rate"].notna() & rows["real_rate"].notna()]
    tasks = rows.groupby("task")["policy"].nunique()
    common = tasks[tasks == rows["policy"].nunique()].index
    rows = rows[rows["task"].isin(common)]
    sums = [
        f"{w}_{c}"
        for w in ("sim", "real")
        for c in ("successes", "episodes", "effective")
        if f"{w}_{c}" in rows
    ]
    sides = [(rows[f"{w}_rate"].to_numpy(float), worth(rows, w)) for w in ("sim", "real")]
    noise = binomial_noise(sides[0], sides[1])
    if noise is not None:
        rows = rows.assign(sim_noise=noise.sim, real_noise=noise.real)
    noises = [column for column in ("sim_noise", "real_noise", "shared_noise") if column in rows]
    grouped = rows.groupby(["set", "policy", "family"], sort=False)
    out = grouped[["sim_rate", "real_rate"]].mean()
    out[sums] = grouped[sums].sum(min_count=len(common))
    if noises:
        # The variance of a mean of independent rates.
        out[noises] = grouped[noises].sum() / max(len(common), 1) ** 2
    return out.reset_index().assign(task=AVERAGE)


def scopes(rows: pd.DataFrame) -> dict[str, Agreement]:
    """Agreement of one set of comparison rows, by scope; the average is left out where there is one task."""
    tasks = list(dict.fromkeys(rows["task"]))
    out = {POOLED: agreement(rows)}
    if len(tasks) > 1:
        out[AVERAGE] = agreement(task_averages(rows))
    return out | {task: agreement(rows[rows["task"] == task]) for task in tasks}
