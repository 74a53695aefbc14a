"""Train the policies that ship with the drawer suite, try them in physics, and put them into the suite.

    python -m benchmarks.train_drawer_policies --data ~/.cache/real2sim/drawer/train \
        --runs ~/.cache/real2sim/drawer/policies --screen 20 --ship real2sim/assets/drawer

They differ in what they were taught and for how long, so that they differ in how well they act.  Training that
was stopped is continued, and what is there is not trained again.  ``--screen`` needs the extra 'physics'.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.drawer_imitation import imitation_families
from benchmarks.drawer_rt1 import recorders, rt1_families
from benchmarks.policy_family import PolicyFamily
from real2sim.checksums import write_checksums
from real2sim.files import read_json, write_text
from real2sim.model_folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from real2sim.policies.rt1.train import PolicyTraining
from real2sim.policies.trained import load_policy
from real2sim.simulation.contracts import StochasticPolicy
from real2sim.simulation.observation import observe_frames

SCREENING_FILE, TIME_FILE = "screening.json", "cpu_seconds.txt"
SCREENING_SEED = 977
"""Seed of the start states of the screening; the suite's own start states come from another one."""


@dataclass(frozen=True)
class Shipment:
    """Where data, runs and shipped policies lie."""

    data: Path
    """Dataset folder with expert labels, as ``real2sim collect`` writes it."""
    runs: Path
    """One training folder per policy family is made here."""
    labelled: Path | None = None
    """Dataset folder on which the imitation policies are taught; by default the same."""
    only: tuple[str, ...] = ()
    """Train and try these families alone."""
    screen: int = 0
    """Physics episodes per policy and task to try the policies with."""
    ship: Path | None = None
    """Suite folder that gets the policies and ``policies.csv``."""


def shipped_families(data: Path, labelled: Path, runs: Path) -> list[PolicyFamily]:
    """All families that ship with the drawer suite."""
    return [*rt1_families(data, runs), *imitation_families(labelled, runs)]


def screen(folder: Path, episodes: int) -> dict[str, list[int]]:
    """Task -> [successes, episodes] of a policy in physics, from start states used for nothing else."""
    from real2sim.drawer.physics import HORIZON, TASKS, DrawerPhysics, draw_starts, is_success

    policy, physics = load_policy(folder), DrawerPhysics()
    counts: dict[str, list[int]] = {}
    for number, (task, instruction) in enumerate(TASKS.items()):
        successes = 0
        for index, start in enumerate(draw_starts(task, episodes, [SCREENING_SEED, number])):
            frame = physics.reset(start)
            if isinstance(policy, StochasticPolicy):
                policy.seed([index])
            policy.reset([instruction])
            for _ in range(HORIZON):
                frame = physics.step(policy.act(observe_frames(frame[None]))[0])
            successes += int(is_success(task, physics.drawer))
        counts[task] = [successes, episodes]
    physics.close()
    return counts


def ship(families: list[PolicyFamily], suite: Path) -> None:
    """Copy what is trained into the suite folder, with the screening in the model cards, and list it."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["policy", "family", "folder", "description"])
    for family in families:
        for name, source in family.folders.items():
            target = suite / "policies" / name
            share = source.name.removeprefix("at-") if source.name.startswith("at-") else "100"
            part = f"; saved at {share}% of its training" if len(family.shipped) > 1 else ""
            if source.is_dir() or target.is_dir():
                writer.writerow([name, family.name, f"policies/{name}", family.description + part])
            if not source.is_dir():
                # Shipped before, and not trained here.
                continue
            target.mkdir(parents=True, exist_ok=True)
            for file in (CONFIG_FILE, WEIGHTS_FILE):
                # A run that reads this folder at the moment keeps what it opened.
                shutil.copyfile(source / file, target / f".{file}")
                (target / f".{file}").replace(target / file)
            write_checksums(target)
            write_text(target / CARD_FILE, (source / CARD_FILE).read_text() + _quality(source, family))
    write_text(suite / "policies.csv", table.getvalue())


def _quality(folder: Path, family: PolicyFamily) -> str:
    lines = [f"- taught: {family.description}"]
    if (family.training.out / TIME_FILE).is_file():
        seconds = (family.training.out / TIME_FILE).read_text().strip()
        lines.append(f"- the whole training took {seconds} s on one core")
    if (folder / SCREENING_FILE).is_file():
        for task, (successes, episodes) in read_json(folder / SCREENING_FILE).items():
            lines.append(f"- screening in physics, {task}: {successes} of {episodes} episodes succeed")
    lines.append(
        "- command: `python -m benchmarks.train_drawer_policies --only "
        + family.name
        + " --data DATA --runs RUNS`"
    )
    if isinstance(family.training, PolicyTraining):
        lines.append(
            "- acts by drawing from its bins; taught without terminations, it ends an episode by chance (0 to 6 %)"
        )
    lines.append("- rates in physics with more episodes: `real_rates.csv` of the suite")
    lines.append(f"- known failures: {family.failures or 'not described'}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing, try it, ship it."""
    asked = tyro.cli(Shipment, description=__doc__)
    torch.set_num_threads(1)
    data, runs = asked.data.expanduser(), asked.runs.expanduser()
    labelled = (asked.labelled or asked.data).expanduser()
    families = shipped_families(data, labelled, runs)
    for family in [*families, *recorders(data, runs)]:
        if asked.only and family.name not in asked.only:
            continue
        if not (family.training.out / TIME_FILE).is_file():
            begun = time.process_time()
            family.train()
            seconds = round(time.process_time() - begun)
            write_text(family.training.out / TIME_FILE, f"{seconds}\n")
            print(f"{family.name}: trained, {seconds} s of CPU", flush=True)
        for folder in family.folders.values() if asked.screen else ():
            if not (folder / SCREENING_FILE).is_file():
                write_text(folder / SCREENING_FILE, json.dumps(screen(folder, asked.screen)) + "\n")
            print(f"  {folder.name}: {read_json(folder / SCREENING_FILE)}", flush=True)
    if asked.ship is not None:
        ship(families, asked.ship)


if __name__ == "__main__":
    main()
