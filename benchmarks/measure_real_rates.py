"""Measures the real rates of the drawer suite: every policy and scripted controller in MuJoCo (extra
'physics').

    python -m benchmarks.measure_real_rates --run runs/real --out real2sim/assets/drawer

The same `rollout` as in the world model, from the same start frames, with physics in its place; a run that
was stopped is continued.  Writes ``real_rates.csv`` (counts) and ``real_episodes.csv`` (one row per episode).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

from real2sim.evaluation.policy_sources import ALL_REPLAYS, ALL_SHIPPED
from real2sim.evaluation.report_runs import EPISODES_FILE, RATES_FILE
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.files import write_text
from real2sim.simulation.suite import load_suite
from real2sim.worlds import PHYSICS_WORLD


@dataclass(frozen=True)
class MeasureConfig:
    """Roll policies out in physics and write the suite's real rates."""

    run: Path
    """Run folder for the physics episodes."""
    out: Path
    """Folder of the two CSV files."""
    policies: tuple[str, ...] = (ALL_SHIPPED, ALL_REPLAYS)
    """As in `real2sim rollout`."""
    suite: str = "drawer"
    """Name of a shipped suite, or a suite folder."""
    starts: int = 100
    """Start frames per task."""
    processes: int | None = None
    """Worker processes; by default one per processor core."""


def measure(config: MeasureConfig) -> pd.DataFrame:
    """Measure, write both files, and give the rates."""
    episodes = rollout(
        RolloutConfig(
            out=config.run,
            policies=config.policies,
            suite=config.suite,
            starts=config.starts,
            world=PHYSICS_WORLD,
            processes=config.processes,
        )
    )
    episodes = episodes[episodes["judge"] == PHYSICS_WORLD]
    rates = real_rates(
        episodes, f"{load_suite(config.suite).config.real_source}, benchmarks/measure_real_rates.py"
    )
    columns = ["policy", "task", "start", "seed", "success"]
    config.out.mkdir(parents=True, exist_ok=True)
    write_text(config.out / EPISODES_FILE, episodes[columns].to_csv(index=False))
    write_text(config.out / RATES_FILE, rates.to_csv(index=False))
    return rates


def real_rates(episodes: pd.DataFrame, source: str) -> pd.DataFrame:
    """Successes and episodes of every policy and task."""
    grouped = episodes.assign(success=episodes["success"].astype(bool)).groupby(["policy", "task"])["success"]
    counts = grouped.agg(successes="sum", episodes="count").reset_index()
    return counts.assign(source=source)


if __name__ == "__main__":
    print(measure(tyro.cli(MeasureConfig, description=__doc__)).to_string(index=False))
