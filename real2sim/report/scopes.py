"""Agreement at each scope of a set: pooled over its rates, over averages of tasks, and per task."""

from __future__ import annotations

import pandas as pd

from real2sim.report.agreement import Agreement, agreement

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
    sums = ["sim_successes", "sim_episodes", "real_successes", "real_episodes"]
    grouped = rows.groupby(["set", "policy", "family"], sort=False)
    out = grouped[["sim_rate", "real_rate"]].mean()
    out[sums] = grouped[sums].agg(lambda column: column.sum(skipna=False))
    return out.reset_index().assign(task=AVERAGE)


def scopes(rows: pd.DataFrame) -> dict[str, Agreement]:
    """Agreement of one set of comparison rows, by scope; the average is left out where there is one task."""
    tasks = list(dict.fromkeys(rows["task"]))
    out = {POOLED: agreement(rows)}
    if len(tasks) > 1:
        out[AVERAGE] = agreement(task_averages(rows))
    return out | {task: agreement(rows[rows["task"] == task]) for task in tasks}
