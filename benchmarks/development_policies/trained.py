"""The trained development policies: what each one is, and how it is taught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from real2sim.drawer.presets import drawer_policy
from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.train import ImitationTraining
from real2sim.policies.rt1.demonstrations import Demonstrations
from real2sim.policies.rt1.train import PolicyTraining

Training = ImitationTraining | PolicyTraining


def trainings(data: Path, experts: Path, runs: Path) -> dict[str, Training]:
    """Name -> training of each family.

    ``data`` holds episodes of mixed quality with expert labels, ``experts`` episodes of scripted experts alone.  None
    is taught on blurred frames but one.
    """
    labelled = Demonstrations(data, labels="expert")
    shown = Demonstrations(experts)

    def imitation(
        name: str, what: Demonstrations, network: ImitationConfig, seed: int, steps: int, **more: Any
    ) -> ImitationTraining:
        return ImitationTraining(what, runs / name, network, seed=seed, steps=steps, **more)

    return {
        "regressor": imitation("regressor", labelled, ImitationConfig(), 101, 3000, save_at=(0.2,)),
        "recurrent": imitation(
            "recurrent", labelled, ImitationConfig(recurrent=96), 102, 2500, moments=20, batch=4
        ),
        "stack": imitation("stack", labelled, ImitationConfig(frames=3, pooling="grid"), 103, 2500, batch=32),
        "chunks": imitation(
            "chunks", shown, ImitationConfig(chunk=4, decoder="transformer", width=64), 104, 2500, batch=32
        ),
        "diffusion": imitation(
            "diffusion",
            shown,
            ImitationConfig(chunk=4, execute=2, frames=2, head="diffusion"),
            105,
            3000,
            batch=32,
        ),
        "mixture": imitation(
            "mixture",
            Demonstrations(data, controllers=("expert", "noisy", "scaled", "partial")),
            ImitationConfig(head="mixture"),
            106,
            2500,
        ),
        "drawn-mixture": imitation(
            "drawn-mixture",
            labelled,
            ImitationConfig(head="mixture", temperature=0.7, recurrent=64),
            107,
            1500,
            moments=20,
            batch=4,
        ),
        "short-stack": imitation(
            "short-stack",
            replace(labelled, episodes=120, seed=8),
            ImitationConfig(frames=2, channels=(16, 24, 32)),
            108,
            1200,
        ),
        "argmax": PolicyTraining(
            replace(labelled, episodes=400, seed=9),
            runs / "argmax",
            drawer_policy(),
            steps=350,
            batch=32,
            seed=109,
        ),
        "grid": imitation(
            "grid",
            replace(labelled, label_noise=0.4, episodes=300, seed=10),
            ImitationConfig(pooling="grid", channels=(24, 32)),
            110,
            1500,
            batch=32,
        ),
    }


def train(training: Training) -> tuple[Path, ...]:
    """Train or continue one family; gives its policy folders."""
    if isinstance(training, PolicyTraining):
        from real2sim.policies.rt1.train import train_policy

        return train_policy(training)
    from real2sim.policies.imitation.train import train_imitation

    return train_imitation(training)


Trainer = Callable[[Training], tuple[Path, ...]]
