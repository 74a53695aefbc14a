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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from real2sim.drawer.presets import drawer_policy
from real2sim.files import read_json, write_text
from real2sim.model_folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from real2sim.policies.rt1.demonstrations import Demonstrations
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.policies.rt1.train import PolicyTraining, checkpoint_folder, train_policy
from real2sim.simulation.observation import observe_frames

SCREENING_FILE, TIME_FILE = "screening.json", "cpu_seconds.txt"
SCREENING_SEED = 977
"""Seed of the start states of the screening; the suite's own start states come from another one."""


NETWORK = replace(drawer_policy(), temperature=1.0)
"""They draw their actions.  One that always takes the likeliest bin gets stuck in places that depend on single
pixels, so that its rate says more about the picture than about what it has learnt."""
BLUR, NOISE = 1.5, 0.04
"""Augmentation of all policies but one: pixels, share of the full range."""

BOBS = "it bobs up and down over the bar, a few millimetres before or beside where it would have to go down"
FAILURES = {
    "main": "saved early, it draws back from the drawer (2 %), pushes past it on one side or hovers over it (15 %); "
    f"later (40 %), in openings, {BOBS}",
    "medium": f"in openings, {BOBS}",
    "few": "in front of an open drawer it stops; to open, it comes down behind the bar or runs to one side",
    "noisy": "it swings by a step to either side of the handle, and opens next to nothing",
    "imitator": "it comes down on the drawer's rim, or leaves the path of its teachers, and stays there",
    "pupil": "it stops beside the handle, or leaves the path of its teachers and stays there",
    "mixed": "it stands still in front of the handle; now and then it opens the drawer and pushes it in again",
    "glimpse": "it pushes forward blindly and often passes over or beside the drawer",
    "crisp": "it seldom fails; then it hovers over the bar",
    "restless": "it reaches far over the drawer and stays there",
    "careless": "it bobs up and down beside the handle, or pushes part of the way",
    "grazing": "it bobs up and down beside the handle, or stops on the drawer's rim",
    "slow": "it stands still before it has come to the handle",
}


@dataclass(frozen=True)
class Shipment:
    """Where data, runs and shipped policies lie."""

    data: Path
    """Dataset folder with expert labels, as ``real2sim collect`` writes it."""
    runs: Path
    """One training folder per policy family is made here."""
    only: tuple[str, ...] = ()
    """Train and try these families alone."""
    screen: int = 0
    """Physics episodes per policy and task to try the policies with."""
    ship: Path | None = None
    """Suite folder that gets the policies and ``policies.csv``."""


@dataclass(frozen=True)
class PolicyFamily:
    """A family: how it is trained, which of its checkpoints ship under which name, and why."""

    name: str
    training: PolicyTraining
    shipped: Mapping[str, float]
    """Name -> share of the training."""
    description: str


def shipped_families(data: Path, runs: Path) -> list[PolicyFamily]:
    """All families that ship with the drawer suite."""

    def family(name: str, seed: int, steps: int, description: str, **what: Any) -> PolicyFamily:
        return PolicyFamily(name, _training(data, runs, name, seed, steps, **what), {name: 1.0}, description)

    def imitator(
        name: str, seed: int, description: str, controllers: tuple[str, ...], successful: bool
    ) -> PolicyFamily:
        what: dict[str, Any] = {
            "labels": "recorded",
            "controllers": controllers,
            "successful": successful,
            "episodes": None,
        }
        return family(name, seed, 600, description, **what)

    main = PolicyTraining(
        Demonstrations(data, labels="expert", episodes=1200),
        runs / "main",
        NETWORK,
        save_at=(0.02, 0.15, 0.4, 1.0),
        blur=BLUR,
        noise=NOISE,
    )
    crisp = family("crisp", 12, 900, "clean expert labels, frames as they are")
    return [
        PolicyFamily(
            "main",
            main,
            {"begin": 0.02, "15-percent": 0.15, "40-percent": 0.4, "converged": 1.0},
            "clean expert labels",
        ),
        family("medium", 3, 900, "clean expert labels, a bit more than half of the usual training"),
        family("few", 4, 500, "clean expert labels on 40 episodes", episodes=40),
        family("noisy", 6, 700, "an expert whose labels are noisy", label_noise=0.6),
        imitator(
            "imitator", 7, "the actions of successful, partly noisy episodes", ("expert", "noisy"), True
        ),
        imitator("pupil", 14, "the actions of the nearly clean expert", ("expert",), False),
        imitator(
            "mixed",
            15,
            "the actions of good, noisy, slow and stopping episodes",
            ("expert", "noisy", "scaled", "stop"),
            False,
        ),
        family("glimpse", 10, 110, "clean expert labels, a fourteenth of the usual training"),
        replace(crisp, training=replace(crisp.training, blur=0.0, noise=0.0)),
        imitator("restless", 21, "the actions of noisy episodes, good or bad", ("noisy",), False),
        imitator("careless", 23, "the actions of experts and of those who miss", ("expert", "miss"), False),
        imitator("grazing", 25, "the actions of experts and of those who graze", ("expert", "graze"), False),
        imitator("slow", 22, "the actions of slow and stopping episodes", ("scaled", "stop"), False),
    ]


def recorders(data: Path, runs: Path) -> list[PolicyFamily]:
    """Families that only act in training data."""
    unlike: list[tuple[str, int, int, dict[str, Any]]] = [
        ("half", 2, 600, {}),
        ("some", 16, 650, {"episodes": 150}),
        ("timid", 17, 700, {"action_scale": 0.4}),
        ("late", 18, 700, {"action_delay": 1}),
        ("brief", 19, 250, {}),
        ("shaky", 20, 500, {"label_noise": 0.3}),
        ("bold", 26, 800, {"action_scale": 1.8}),
        (
            "distracted",
            24,
            600,
            {"labels": "recorded", "controllers": ("expert", "wander"), "episodes": None},
        ),
        ("average", 27, 750, {"episodes": 300}),
    ]
    return [
        PolicyFamily(name, _training(data, runs, name, seed, steps, **what), {}, "acts in training data")
        for name, seed, steps, what in unlike
    ]


def _training(data: Path, runs: Path, name: str, seed: int, steps: int, **what: Any) -> PolicyTraining:
    taught = Demonstrations(data, **{"labels": "expert", "episodes": 800, "seed": seed, **what})
    return PolicyTraining(taught, runs / name, NETWORK, steps, seed=seed, blur=BLUR, noise=NOISE)


def screen(folder: Path, episodes: int) -> dict[str, list[int]]:
    """Task -> [successes, episodes] of a policy in physics, from start states used for nothing else."""
    from real2sim.drawer.physics import HORIZON, TASKS, DrawerPhysics, draw_starts, is_success

    policy, physics = RT1Policy.from_folder(folder), DrawerPhysics()
    counts: dict[str, list[int]] = {}
    for number, (task, instruction) in enumerate(TASKS.items()):
        successes = 0
        for index, start in enumerate(draw_starts(task, episodes, [SCREENING_SEED, number])):
            frame = physics.reset(start)
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
        for name, share in family.shipped.items():
            source, target = checkpoint_folder(family.training.out, share), suite / "policies" / name
            if not source.is_dir():
                continue
            target.mkdir(parents=True, exist_ok=True)
            for file in (CONFIG_FILE, WEIGHTS_FILE):
                # A run that reads this folder at the moment keeps what it opened.
                shutil.copyfile(source / file, target / f".{file}")
                (target / f".{file}").replace(target / file)
            write_text(target / CARD_FILE, (source / CARD_FILE).read_text() + _quality(source, family))
            part = f"; saved at {share:.0%} of its training" if len(family.shipped) > 1 else ""
            writer.writerow([name, family.name, f"policies/{name}", family.description + part])
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
    lines.append(
        "- acts by drawing from its bins; taught without terminations, it ends an episode by chance (0 to 6 %)"
    )
    lines.append("- rates in physics with more episodes: `real_rates.csv` of the suite")
    lines.append(f"- known failures, seen with its likeliest actions: {FAILURES[family.name]}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing, try it, ship it."""
    asked = tyro.cli(Shipment, description=__doc__)
    torch.set_num_threads(1)
    where = asked.data.expanduser(), asked.runs.expanduser()
    families = [*shipped_families(*where), *recorders(*where)]
    for family in families:
        if asked.only and family.name not in asked.only:
            continue
        folders = tuple(checkpoint_folder(family.training.out, share) for share in family.training.save_at)
        if not all(folder.is_dir() for folder in folders):
            begun = time.process_time()
            train_policy(family.training)
            seconds = round(time.process_time() - begun)
            write_text(family.training.out / TIME_FILE, f"{seconds}\n")
            print(f"{family.name}: trained, {seconds} s of CPU", flush=True)
        for folder in folders if asked.screen else ():
            if not (folder / SCREENING_FILE).is_file():
                write_text(folder / SCREENING_FILE, json.dumps(screen(folder, asked.screen)) + "\n")
            print(f"  {folder.name}: {read_json(folder / SCREENING_FILE)}", flush=True)
    if asked.ship is not None:
        ship(families, asked.ship)


if __name__ == "__main__":
    main()
