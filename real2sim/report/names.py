"""Policies and tasks that are named on one side only: what the page says of them."""

from __future__ import annotations

import pandas as pd

from real2sim.report.wording import listing


def other_tasks(sim: pd.DataFrame, real: pd.DataFrame, real_name: str) -> str:
    """Why nothing can be compared, where the policies were measured in reality, on tasks of other names."""
    shared = set(sim["policy"]) & set(real["policy"])
    here, there = ({str(task) for task in table["task"]} for table in (sim, real))
    if not shared or here & there:
        return ""
    return (
        f"the tasks have other names in reality ({real_name} has {listing(sorted(there))}, the simulation "
        f"{listing(sorted(here))}); if they are the same, say so with --match OURS=THEIRS"
    )


def name_remarks(sim: pd.DataFrame, real: pd.DataFrame | None, real_name: str) -> list[str]:
    """What is measured on one side only."""
    if real is None:
        return (
            [f"No real rates were given ({real_name}); the simulated rates stand alone."] if len(sim) else []
        )
    remarks = []
    sim_cells = set(zip(sim["policy"], sim["task"], strict=True))
    real_cells = set(zip(real["policy"], real["task"], strict=True))
    known = set(real["policy"])
    unknown = sorted({policy for policy, _ in sim_cells} - known)
    if unknown:
        remarks.append(f"Not among the real rates, so without a comparison: {listing(unknown)}.")
    partly = sorted(f"{p} on {t}" for p, t in sim_cells - real_cells if p in known)
    if partly:
        remarks.append(f"Real rate missing: {listing(partly)}.")
    absent = sorted(f"{p} on {t}" for p, t in real_cells - sim_cells)
    if absent:
        remarks.append(f"Measured in reality but not simulated in this run: {listing(absent)}.")
    return remarks
