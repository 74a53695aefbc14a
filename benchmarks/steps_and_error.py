"""What fewer denoising steps cost: frame error and ranking of policies against passes of the network per frame.

    python -m benchmarks.steps_and_error --data ~/.cache/real2sim/drawer/heldout --out docs/images

Every way to draw (number of steps; at one number also fresh noise, spacing, and the published rule for the noise on
the history) draws recorded held-out episodes again, each from its own past, and rolls all policies of the suite out,
whose rates the suite's judge then compares with the real ones.  Writes steps_and_error.csv and steps_and_error.png; a
run that was stopped continues from the run folders that it left in ``--runs``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from real2sim.episodes.npz import read_dataset
from real2sim.evaluation.policy_sources import ALL_REPLAYS, ALL_SHIPPED
from real2sim.evaluation.report_runs import ReportConfig, report_runs
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.evaluation.score_runs import ScoreConfig, score_runs
from real2sim.files import atomic_write, write_text
from real2sim.metrics.curves import mean_curve
from real2sim.metrics.frames import psnr
from real2sim.metrics.prediction import predict_rollouts
from real2sim.simulation.suite import load_suite
from real2sim.vid2world.load import MODEL
from real2sim.vid2world.schedule import ddim_timesteps
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from real2sim.worlds import model_folder

CARD = "# A way to draw\n\nThe suite's world model with other settings, made by benchmarks.steps_and_error.\n"


@dataclass(frozen=True)
class Way:
    """One way to draw with the same weights."""

    name: str
    config: WorldModelConfig

    def row(self) -> dict[str, Any]:
        """Its settings."""
        names = ("steps", "eta", "guidance", "spacing", "context_level")
        return {"way": self.name, **{name: getattr(self.config, name) for name in names}}


def ways(config: WorldModelConfig, steps: Sequence[int], at: int) -> list[Way]:
    """The numbers of steps, and the other choices at ``at`` steps."""
    found = [Way("steps", replace(config, steps=count)) for count in steps]
    there = replace(config, steps=at)
    found += [Way(f"eta {eta}", replace(there, eta=eta)) for eta in (0.5, 1.0)]
    found.append(Way("spacing uniform", replace(there, spacing="uniform")))
    found += [Way(f"guidance {weight}", replace(there, guidance=weight)) for weight in (1.5, 2.5)]
    # The published sampler noises the history to its own second-smallest step.
    found += [
        Way(
            "history level of the published rule",
            replace(config, steps=count, context_level=ddim_timesteps(count)[1]),
        )
        for count in steps
        if count > 1 and ddim_timesteps(count)[1] < 999
    ]
    return found


def frame_error(model: WorldModel, images: np.ndarray, actions: np.ndarray) -> dict[str, float]:
    """PSNR of the last frame in decibels with its 95 % interval, and the mean over the horizon."""
    found = psnr(images[:, 1:], predict_rollouts(model, images, actions))
    # A frame that is equal has no finite PSNR; 99 dB is beyond what 8 bits can show.
    found = np.minimum(found, 99.0)
    last = mean_curve("psnr", "autoregressive", found).iloc[-1]
    return {
        "psnr": float(found.mean()),
        "psnr_last": float(last["value"]),
        "psnr_last_low": float(last["low"]),
        "psnr_last_high": float(last["high"]),
        "recorded_episodes": len(images),
    }


def ranking(folder: Path, run: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Agreement of the policies' rates with the real ones, one mapping per set of policies."""
    rollout(
        RolloutConfig(
            out=run,
            policies=tuple(options.policies),
            suite=options.suite,
            starts=options.starts,
            world=str(folder),
            processes=options.processes,
            consistency=False,
        )
    )
    score_runs(ScoreConfig(runs=(run,)))
    sets = report_runs(ReportConfig(runs=(run,), out=run / "report")).metrics["sets"]
    return [
        {
            "set": name,
            **{
                measure: facts["pooled"][measure] for measure in ("policies", "pearson", "mmrv", "mae_points")
            },
        }
        for name, facts in sets.items()
    ]


def figure(rows: pd.DataFrame, path: Path) -> None:
    """Error and ranking against frame passes: the numbers of steps as a line, other choices as single marks."""
    from matplotlib.figure import Figure

    passes = sorted(rows["frame_passes"].unique())
    panels = [("psnr_last", "PSNR of the last frame (dB)")]
    if "pearson" in rows:
        panels += [("pearson", "Pearson r with real rates"), ("mmrv", "MMRV")]
    drawn = Figure(figsize=(4.4 * len(panels), 3.8), layout="constrained")
    for ax, (column, label) in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        alone = column == "psnr_last" or rows["set"].nunique() == 1
        by_set = [("", rows)] if alone else list(rows.groupby("set", sort=False))
        for name, part in by_set:
            line = part[part["way"] == "steps"].drop_duplicates("frame_passes").sort_values("frame_passes")
            ax.plot(
                line["frame_passes"], line[column].astype(float), "o-", ms=3, label=f"steps {name}".strip()
            )
            for way, others in part[part["way"] != "steps"].groupby("way", sort=False):
                ax.plot(
                    others["frame_passes"],
                    others[column].astype(float),
                    "x",
                    ms=5,
                    label=f"{way} {name}".strip(),
                )
        ax.set(xlabel="frame passes per frame", ylabel=label, xscale="log")
        ax.set_xticks(passes, [str(value) for value in passes])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    drawn.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize="small"
    )
    with atomic_write(path) as file:
        drawn.savefig(file, format="png", dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table and the figure; after every way, so that a look at it is possible meanwhile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset folder that the model was not taught on"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, help="folder for run folders; by default a temporary one")
    parser.add_argument("--suite", default="drawer")
    parser.add_argument("--world", default=MODEL)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20, 50])
    parser.add_argument(
        "--at", type=int, default=5, help="number of steps at which the other choices are varied"
    )
    parser.add_argument("--only-steps", action="store_true", help="leave the other choices out")
    parser.add_argument("--episodes", type=int, default=64, help="recorded episodes for the frame error")
    parser.add_argument(
        "--policies", nargs="*", default=[ALL_SHIPPED, ALL_REPLAYS], help="none: frame error only"
    )
    parser.add_argument("--starts", type=int, default=20, help="starts per task and policy")
    parser.add_argument("--processes", type=int)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    suite, rows = load_suite(options.suite), []
    model = WorldModel.from_folder(model_folder(options.world, suite))
    data = read_dataset(options.data, limit=options.episodes)
    images, actions = data["image"], data["action"][:, :-1]
    chosen = ways(model.config, options.steps, options.at)
    with tempfile.TemporaryDirectory() as scratch:
        for way in chosen[: len(options.steps)] if options.only_steps else chosen:
            model.config = way.config
            name = "-".join(f"{value}" for value in way.row().values()).replace(" ", "-")
            row = {
                **way.row(),
                "frame_passes": model.frame_passes_per_frame,
                **frame_error(model, images, actions),
            }
            folder = Path(scratch) / "worlds" / name
            if options.policies:
                model.save(folder, CARD)
                found = ranking(folder, (options.runs or Path(scratch)) / name, options)
                rows += [row | {"starts": options.starts} | agreement for agreement in found]
            else:
                rows.append(row)
            table = pd.DataFrame(rows)
            write_text(options.out / "steps_and_error.csv", table.to_csv(index=False))
            figure(table, options.out / "steps_and_error.png")
            print(table.tail(1).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
