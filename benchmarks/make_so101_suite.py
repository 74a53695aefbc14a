"""Puts the parts of the SO-101 suite, each made by a command of docs/so101.md, into the folder that is shipped.

    python -m benchmarks.make_so101_suite --made . --out real2sim/assets/so101

``made`` holds suite/, training/model, judge/model and policies/ as that page makes them.  Cards of policies keep what
the trainings wrote and gain the command; those of world model and judge stay as they were written by hand.  Real
rates: `python -m benchmarks.measure_real_rates --suite so101`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

from real2sim.evaluation.suite_policies import POLICIES_FILE, POLICIES_FOLDER
from real2sim.files import read_json, write_json, write_text
from real2sim.simulation.suite import REPLAYS_FILE, STARTS_FILE, SUITE_FILE

NAME = "so101"
SUITE_FILES = (STARTS_FILE, REPLAYS_FILE, "robot.json")


@dataclass(frozen=True)
class Shipped:
    """A policy that comes with the suite."""

    family: str
    folder: str
    """Below policies/ of the trainings."""
    description: str
    command: str
    """Options of its training."""


DEMONSTRATIONS = "--data.folder data/demonstrations"
ACT = "--network.chunk 10 --network.decoder transformer --batch 24"
DIFFUSION = (
    f"train imitation {DEMONSTRATIONS} --network.state 6 --network.chunk 10 --network.head diffusion --steps 1500 "
    "--batch 32 --seed 2 --save-at 0.2 0.5"
)
RT1 = f"train policy {DEMONSTRATIONS} --save-at 0.1 0.3 --steps 1000"
POLICIES = {
    "regressor": Shipped(
        "regressor",
        "regressor/policy",
        "state and two frames, a chunk per frame",
        f"train imitation {DEMONSTRATIONS} --network.state 6 --network.frames 2 --steps 1500 --batch 32 --seed 4",
    ),
    "regressor-pictures": Shipped(
        "regressor-pictures",
        "regressor_pictures/policy",
        "two frames, no state; half the demonstrations",
        f"train imitation {DEMONSTRATIONS} --data.episodes 150 --network.frames 2 --steps 1000 --batch 32 --seed 5",
    ),
    "diffusion": Shipped("diffusion", "diffusion/policy", "state, ten commands denoised at once", DIFFUSION),
    "diffusion-50": Shipped("diffusion", "diffusion/at-50", "the same at half of its training", DIFFUSION),
    "diffusion-20": Shipped("diffusion", "diffusion/at-20", "the same at a fifth of its training", DIFFUSION),
    "diffusion-few": Shipped(
        "diffusion-few",
        "diffusion_few/policy",
        "no state, 60 demonstrations, ten commands at once",
        f"train imitation {DEMONSTRATIONS} --data.episodes 60 --network.chunk 10 --network.head diffusion --steps 800 "
        "--batch 32 --seed 3",
    ),
    "mixture": Shipped(
        "mixture",
        "mixture/policy",
        "state, a mixture of Gaussians of which the likeliest is played",
        f"train imitation {DEMONSTRATIONS} --network.state 6 --network.head mixture --steps 1200 --batch 32 --seed 6",
    ),
    "act": Shipped(
        "act",
        "act/policy",
        "state, ten commands by a transformer decoder that attends to feature maps, as in ACT",
        f"train imitation {DEMONSTRATIONS} --network.state 6 {ACT} --steps 1200",
    ),
    "act-pictures": Shipped(
        "act-pictures",
        "act_pictures/policy",
        "the same without state, 120 demonstrations",
        f"train imitation {DEMONSTRATIONS} --data.episodes 120 {ACT} --steps 800 --seed 1",
    ),
    "recurrent": Shipped(
        "recurrent",
        "recurrent/policy",
        "no state, remembers the whole episode",
        f"train imitation {DEMONSTRATIONS} --network.recurrent 96 --moments 12 --batch 4 --steps 1200 --seed 7",
    ),
    "mixed": Shipped(
        "mixed",
        "mixed/policy",
        "state, imitates recordings of mixed quality, misses included",
        "train imitation --data.folder data/world --network.state 6 --network.chunk 10 --steps 1000 --batch 32 "
        "--seed 8",
    ),
    "rt1": Shipped("rt1", "rt1/at-100", "RT-1's network: six pictures as tokens, no state", RT1),
    "rt1-30": Shipped("rt1", "rt1/at-30", "the same at 30 % of its training", RT1),
    "rt1-10": Shipped("rt1", "rt1/at-10", "the same at 10 % of its training", RT1),
    "rt1-few": Shipped(
        "rt1-few",
        "rt1_few/at-100",
        "RT-1's network, 80 demonstrations",
        f"train policy {DEMONSTRATIONS} --data.episodes 80 --steps 500 --seed 1",
    ),
}


@dataclass(frozen=True)
class Make:
    """Where the parts lie, and where the suite goes."""

    made: Path
    """Folder with suite/, training/model, judge/model and policies/."""
    out: Path
    """Folder of the shipped suite."""


def make(config: Make) -> list[str]:
    """Copy what is there and give the names of the policies that were found."""
    config.out.mkdir(parents=True, exist_ok=True)
    suite = read_json(config.made / "suite" / SUITE_FILE) | {"name": NAME, "real_source": "MuJoCo physics"}
    write_json(config.out / SUITE_FILE, suite)
    for name in SUITE_FILES:
        shutil.copyfile(config.made / "suite" / name, config.out / name)
    for part, made in (("world_model", "training/model"), ("judge", "judge/model")):
        if (config.made / made).is_dir():
            card = config.out / part / "README.md"
            written = card.read_text(encoding="utf-8") if card.is_file() else None
            _copy(config.made / made, config.out / part)
            if written is not None:
                write_text(card, written)
    found = [name for name, policy in POLICIES.items() if (config.made / "policies" / policy.folder).is_dir()]
    for name in found:
        policy, folder = POLICIES[name], config.out / POLICIES_FOLDER / name
        _copy(config.made / "policies" / policy.folder, folder)
        taught = (folder / "README.md").read_text(encoding="utf-8").rstrip()
        write_text(
            folder / "README.md",
            f"{taught}\n- {policy.description}\n- command: `real2sim {policy.command} --out OUT`, one thread\n"
            "- rates in physics: `real_rates.csv` of the suite\n"
            "- known failures: taught by one scripted teacher and one arrangement of cameras, it knows nothing else\n",
        )
    rows = [
        {
            "policy": name,
            "family": POLICIES[name].family,
            "folder": f"{POLICIES_FOLDER}/{name}",
            "description": POLICIES[name].description,
        }
        for name in found
    ]
    write_text(config.out / POLICIES_FILE, pd.DataFrame(rows).to_csv(index=False))
    return found


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


if __name__ == "__main__":
    print("\n".join(make(tyro.cli(Make, description=__doc__))))
