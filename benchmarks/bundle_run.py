"""Make a small copy of a scored run for notebooks: all rows, and the films behind the largest gaps.

The real rates and episodes that belong to the run are copied beside it, so that the copy stays whole when the
suite's are measured again.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from real2sim.episodes.run_folder import RunFolder, load_run
from real2sim.report.gaps import pair_episodes, worst_episodes
from real2sim.report.inputs import read_rates, read_real_episodes, read_simulated
from real2sim.report.rates import compare_rates
from real2sim.simulation.suite import load_suite


@dataclass(frozen=True)
class BundleRun:
    """Copy a scored run without most of its films."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that has been scored."""
    out: Annotated[Path, tyro.conf.Positional]
    """Folder to make; must not exist."""
    real_rates: Path | None = None
    """Real rates (CSV); by default those of the run's suite."""
    real_episodes: Path | None = None
    """Real episodes (CSV); by default those of the run's suite."""
    films: int = 12
    """Most episode files to keep."""


def bundle_run(config: BundleRun) -> dict[str, float]:
    """Make the copy; gives how many rows and films it has and its size."""
    folder = RunFolder(config.run)
    suite = load_suite(folder.settings()["config"]["suite"]).folder
    sim, episodes, _ = read_simulated(load_run(config.run))
    rates, _ = read_rates(config.real_rates or suite / "real_rates.csv")
    real, _ = read_real_episodes(config.real_episodes or suite / "real_episodes.csv")
    pairs = pair_episodes(episodes, real).pairs
    films = worst_episodes(pairs, compare_rates(sim, rates), config.films)["episode"]
    missing = [episode for episode in films if not folder.episode_path(str(episode)).is_file()]
    if missing:
        raise FileNotFoundError(f"{config.run} has no film of {missing[0]}; is the run complete?")

    config.out.mkdir(parents=True)
    for path in sorted(config.run.iterdir()):
        if path.suffix in (".json", ".jsonl"):
            shutil.copy2(path, config.out / path.name)
    cells = set(zip(episodes["policy"], episodes["task"], strict=True))
    for table, name in ((rates, "real_rates.csv"), (real, "real_episodes.csv")):
        ran = [cell in cells for cell in zip(table["policy"], table["task"], strict=True)]
        table[ran].to_csv(config.out / name, index=False)
    (config.out / "episodes").mkdir()
    for episode in films:
        shutil.copy2(folder.episode_path(str(episode)), config.out / "episodes")
    size = sum(path.stat().st_size for path in config.out.rglob("*") if path.is_file())
    return {"rows": len(episodes), "films": len(films), "megabytes": round(size / 1e6, 2)}


def main() -> None:
    """The command line."""
    print(json.dumps(bundle_run(tyro.cli(BundleRun, description=__doc__))))


if __name__ == "__main__":
    main()
