"""The drawer's imitation policies: what each one is, how it is taught, and how it fails.

Seven kinds, none of them with RT-1's network, all taught on frames as the camera gives them and all deterministic.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.policy_family import PolicyFamily
from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.train import ImitationTraining
from real2sim.policies.rt1.demonstrations import Demonstrations

GOOD = ("expert", "scaled", "slow", "partial")
"""Controllers that know the task; their successes are what chunks are learned from."""


def imitation_families(data: Path, runs: Path) -> list[PolicyFamily]:
    """All families; ``data`` is the dataset of mixed quality with expert labels on which the world model is trained."""

    def shown(seed: int) -> Demonstrations:
        return Demonstrations(data, controllers=GOOD, successful=True, seed=seed)

    def family(
        name: str,
        seed: int,
        steps: int,
        description: str,
        failures: str,
        network: ImitationConfig,
        *,
        batch: int = 48,
        moments: int = 1,
        early: tuple[str, float] | None = None,
        taught: Demonstrations | None = None,
    ) -> PolicyFamily:
        taught = taught or Demonstrations(data, labels="expert", episodes=900, seed=seed)
        training = ImitationTraining(
            taught,
            runs / name,
            network,
            batch=batch,
            moments=moments,
            steps=steps,
            seed=seed,
            save_at=(early[1],) if early else (),
        )
        shipped = {early[0]: f"at-{100 * early[1]:g}"} if early else {}
        return PolicyFamily(name, training, {**shipped, name: "policy"}, description, failures)

    return [
        family(
            "regressor",
            31,
            4000,
            "a convolutional network that answers the median action, clean expert labels",
            "to open, it hovers over the bar and does not go down; saved early it also stops before the drawer",
            ImitationConfig(channels=(24, 48, 64)),
            early=("regressor-early", 0.1),
        ),
        family(
            "stack",
            32,
            3000,
            "three frames at once, clean expert labels",
            "to open, it hovers over the bar and does not go down",
            ImitationConfig(frames=3, pooling="grid"),
            batch=32,
        ),
        family(
            "recurrent",
            33,
            3000,
            "a gated recurrent unit over the whole episode, clean expert labels",
            "to open, it hovers over the bar and does not go down",
            ImitationConfig(recurrent=96),
            batch=4,
            moments=20,
        ),
        family(
            "chunks",
            34,
            1500,
            "a transformer that answers four actions at once, the actions of successful episodes",
            "it reaches over the drawer without pushing it; to open, it pulls beside the bar",
            ImitationConfig(chunk=4, decoder="transformer", width=64),
            batch=32,
            taught=shown(34),
        ),
        family(
            "diffusion",
            35,
            1500,
            "denoises four actions and plays two, sees two frames, the actions of successful episodes",
            "it reaches over the drawer without pushing it; to open, it stops beside the bar or lets go on the way",
            ImitationConfig(chunk=4, execute=2, frames=2, head="diffusion"),
            batch=32,
            taught=shown(35),
        ),
        family(
            "mixture",
            36,
            1200,
            "a mixture of Gaussians of which the likeliest is taken, the actions of successful episodes",
            "it rises over the drawer or stops before it; to open, it never comes to the bar",
            ImitationConfig(head="mixture", pooling="grid"),
            taught=shown(36),
        ),
        family(
            "timid",
            37,
            800,
            "half the steps of the expert, from 200 episodes",
            "it comes to rest in front of the handle; to open, it hovers over the bar",
            ImitationConfig(pooling="grid"),
            taught=Demonstrations(data, labels="expert", episodes=200, action_scale=0.5, seed=37),
        ),
        family(
            "sloppy",
            38,
            700,
            "an expert whose labels are noisy, from 150 episodes",
            "it pushes the drawer part of the way and swings beside the handle; to open, it rises above the bar",
            ImitationConfig(frames=2),
            taught=Demonstrations(data, labels="expert", episodes=150, label_noise=0.6, seed=38),
        ),
    ]
