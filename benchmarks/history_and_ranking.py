"""What a cached history of released weights changes in rollouts: frames over the horizon, verdicts, and the ranking.

    python -m benchmarks.history_and_ranking --world FOLDER --suite FOLDER --out runs/history

The same policies begin from the same starts with the same noise, once with ``history="exact"`` and once with
``"cached"``.  Prints PSNR between the two for each frame, the share of episodes with the same verdict, the rates and
Kendall's tau between the two rankings, and how many passes and seconds were saved.  A stopped run continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from real2sim.episodes.run_folder import RunFolder, load_run
from real2sim.evaluation.policy_sources import ALL_SHIPPED
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.evaluation.score_runs import ScoreConfig, score_runs
from real2sim.metrics.frames import psnr
from real2sim.report.correlation import kendall
from real2sim.vid2world.load import SamplingOverrides

WAYS = ("exact", "cached")


def frame_agreement(exact: Path, cached: Path) -> pd.DataFrame:
    """Mean PSNR in decibels between paired episodes, one row per frame; equal frames count as 99."""
    found: dict[int, list[float]] = {}
    for episode in load_run(exact)["episode"]:
        first, second = (RunFolder(run).episode(episode)[0][1:] for run in (exact, cached))
        length = min(len(first), len(second))
        for frame, value in enumerate(psnr(first[None, :length], second[None, :length])[0], start=1):
            found.setdefault(frame, []).append(min(float(value), 99.0))
    return pd.DataFrame(
        {"frame": frame, "psnr": np.mean(values), "episodes": len(values)} for frame, values in found.items()
    )


def verdict_agreement(exact: Path, cached: Path) -> str:
    """Rates of both ways, and how far verdicts and rankings agree."""
    both = load_run(exact).merge(load_run(cached), on="episode", suffixes=("", "_cached"))
    same = (both["success"] == both["success_cached"]).mean()
    rates = both.groupby(["task", "policy"])[["success", "success_cached"]].agg(["sum", "count"])
    lines = [f"{len(both)} episodes, {same:.1%} with the same verdict"]
    for task, part in both.groupby("task"):
        means = part.groupby("policy")[["success", "success_cached"]].mean()
        tau = kendall(means["success"].to_numpy(), means["success_cached"].to_numpy())
        lines.append(f"{task}: Kendall's tau between the rankings {tau:.3f} ({len(means)} policies)")
    return "\n".join([*lines, rates.to_string()])


def main(arguments: Sequence[str] | None = None) -> None:
    """Roll out both ways, and print what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", required=True, help="folder of converted released weights")
    parser.add_argument("--suite", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--policies", nargs="+", default=[ALL_SHIPPED])
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames-only", action="store_true", help="do not ask the judge")
    options = parser.parse_args(arguments)
    runs = {way: options.out / way for way in WAYS}
    for way in WAYS:
        rollout(
            RolloutConfig(
                out=runs[way],
                world=options.world,
                suite=options.suite,
                policies=tuple(options.policies),
                starts=options.starts,
                device=options.device,
                processes=1,
                sampling=SamplingOverrides(steps=options.steps, history=way),  # type: ignore[arg-type]
                consistency=False,
            )
        )
    print(frame_agreement(*runs.values()).to_string(index=False, float_format=lambda value: f"{value:.1f}"))
    totals = {way: load_run(runs[way])[["frame_passes", "seconds"]].sum() for way in WAYS}
    for name in ("frame_passes", "seconds"):
        exact, cached = (totals[way][name] for way in WAYS)
        print(f"{name}: {exact:.0f} exact, {cached:.0f} cached, {exact / cached:.2f} times fewer")
    if not options.frames_only:
        score_runs(ScoreConfig(runs=tuple(runs.values())))
        print(verdict_agreement(*runs.values()))


if __name__ == "__main__":
    main()
