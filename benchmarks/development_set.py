"""How a world model ranks the development policies, half of which steer the development.

    python -m benchmarks.development_set --policies development --world mujoco --starts 40 --out runs/development-real
    python -m benchmarks.development_set --policies development --world FOLDER --half steer --out runs/development

The first writes the real rates (``real_rates.csv`` beside the policies), the second rolls the policies of one half out
in a world model and prints how far both agree.  Every policy has a run folder of its own; what is there is not made
again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import tyro

from benchmarks.development_policies.members import MEMBERS, fingerprint, halves, load_member
from benchmarks.measure_real_rates import real_rates
from real2sim.evaluation.run import RolloutConfig, rollout
from real2sim.evaluation.score_runs import ScoreConfig, score_runs
from real2sim.files import write_text
from real2sim.report.agreement import agreement
from real2sim.report.rates import compare_rates, success_rates
from real2sim.simulation.suite import load_suite
from real2sim.worlds import MODEL, PHYSICS_WORLD, world_fingerprint

RATES = "real_rates.csv"


@dataclass(frozen=True)
class DevelopmentSet:
    """Roll the development policies out, and say how far simulated and real rates agree."""

    policies: Path
    """Folder of the development set."""
    out: Path
    """Folder of the run folders and of ``rates.csv``."""
    world: str = MODEL
    """As in `real2sim rollout`: `mujoco` measures the real rates."""
    half: Literal["steer", "test", "all"] = "steer"
    """Which half; the test half is looked at to report, not to decide."""
    starts: int = 40
    """Start frames per task."""
    suite: str = "drawer"
    judge: Path | None = None
    """Judge of the episodes; by default the suite's."""
    processes: int = 1
    """Policies that are rolled out at the same time."""
    lanes: int = 25
    only: tuple[str, ...] = ()
    """These policies alone."""


def chosen(asked: DevelopmentSet) -> list[str]:
    """Names of the policies of a half that have been made."""
    half = halves()
    everybody = asked.half == "all" or asked.world == PHYSICS_WORLD
    names = list(asked.only) or [
        member.name for member in MEMBERS if everybody or half[member.name] == asked.half
    ]
    made = [name for name in names if (asked.policies / name).is_dir()]
    if not made:
        raise ValueError(f"{asked.policies} holds none of {', '.join(names)}; make them first")
    return made


def play(asked: DevelopmentSet, name: str) -> pd.DataFrame:
    """The scored episodes of one policy."""
    torch.set_num_threads(1)
    folder = asked.policies / name
    suite = load_suite(asked.suite)
    world = world_fingerprint(asked.world, suite).split()[-1]
    run = asked.out / f"{name}-{fingerprint(folder)}-{world}"
    config = RolloutConfig(
        out=run,
        policies=(name,),
        suite=asked.suite,
        starts=asked.starts,
        world=asked.world,
        lanes=asked.lanes,
        processes=1,
        consistency=False,
    )
    episodes = rollout(config, {name: load_member(folder)}, progress=False)
    if asked.world != PHYSICS_WORLD:
        score_runs(ScoreConfig((run,), None if asked.judge is None else str(asked.judge)))
        from real2sim.evaluation.report_runs import scored_episodes

        episodes = scored_episodes((run,))
    order = {start.id: place for task in suite.tasks for place, start in enumerate(suite.starts(task.name))}
    episodes = episodes[episodes["start"].map(order) < asked.starts]
    return episodes.assign(family=next(member.family for member in MEMBERS if member.name == name))


def played(asked: DevelopmentSet) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and episodes of every policy, as they are done."""
    names = chosen(asked)
    if asked.processes == 1:
        yield from ((name, play(asked, name)) for name in names)
        return
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        yield from zip(names, pool.starmap(play, [(asked, name) for name in names], chunksize=1), strict=True)


def measured(asked: DevelopmentSet) -> pd.DataFrame:
    """Write the real rates of what was played in physics; earlier ones of other policies are kept."""
    path = asked.policies / RATES
    rates = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["policy", "task"])
    for name, episodes in played(asked):
        fresh = real_rates(episodes, "MuJoCo, benchmarks/development_set.py")
        rates = pd.concat([rates[rates["policy"] != name], fresh], ignore_index=True)
        write_text(path, rates.to_csv(index=False))
        print(fresh.drop(columns="source").to_string(index=False, header=False), flush=True)
    return rates


def simulated(asked: DevelopmentSet) -> pd.DataFrame:
    """Simulated beside real rates, one row per policy and task, with what each policy is."""
    episodes = pd.concat([table for _, table in played(asked)], ignore_index=True)
    real = pd.read_csv(asked.policies / RATES)
    real["rate"] = real["successes"] / real["episodes"]
    by = ("set", "policy", "family", "task")
    rows = compare_rates(success_rates(episodes.assign(set="policies"), by), real)
    facts = {member.name: member for member in MEMBERS}
    rows["kind"] = [facts[name].kind for name in rows["policy"]]
    rows["deterministic"] = [facts[name].deterministic for name in rows["policy"]]
    rows["frames"] = [facts[name].frames for name in rows["policy"]]
    rows["half"] = rows["policy"].map(halves())
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """r, MMRV, mean absolute error and bias, with n, beside those of a perfect simulator, for several scopes."""
    scopes = {"pooled": rows}
    scopes |= {task: rows[rows["task"] == task] for task in rows["task"].unique()}
    scopes |= {"deterministic": rows[rows["deterministic"]], "several frames": rows[rows["frames"]]}
    lines = []
    for scope, part in scopes.items():
        part = part[part["real_rate"].notna()]
        if part["policy"].nunique() < 2:
            continue
        found = agreement(part)
        ceiling = found.ceiling_finite
        lines.append(
            {
                "scope": scope,
                "policies": found.policies,
                "points": found.points,
                "r": found.pearson.value,
                "MMRV": found.mmrv.value,
                "MAE": found.mae_points.value,
                "bias": found.bias_points.value,
                "r perfect": np.nan if ceiling is None else ceiling.pearson,
                "MMRV perfect": np.nan if ceiling is None else ceiling.mmrv,
                "MAE perfect": np.nan if ceiling is None else ceiling.mae_points,
            }
        )
    return pd.DataFrame(lines)


def main() -> None:
    """Measure real rates, or compare simulated ones with them."""
    asked = tyro.cli(DevelopmentSet, description=__doc__)
    if asked.world == PHYSICS_WORLD:
        measured(asked)
        return
    rows = simulated(asked)
    write_text(asked.out / f"rates-{asked.half}.csv", rows.to_csv(index=False))
    shown = ["policy", "kind", "task", "sim_rate", "real_rate", "gap_points", "sim_episodes", "real_episodes"]
    ordered = rows.sort_values(["task", "real_rate"], ascending=[True, False])
    print(ordered[shown].to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    print()
    print(summary(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))


if __name__ == "__main__":
    main()
