"""The drawer's RT-1 policies: those that ship, and those that only act in training data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.policy_family import PolicyFamily
from real2sim.drawer.presets import drawer_policy
from real2sim.policies.rt1.demonstrations import Demonstrations
from real2sim.policies.rt1.train import PolicyTraining

NETWORK = replace(drawer_policy(), temperature=1.0)
"""They draw their actions.  One that always takes the likeliest bin gets stuck in places that depend on single
pixels, so that its rate says more about the picture than about what it has learnt."""
BLUR, NOISE = 1.5, 0.04
"""Augmentation of all policies but one: pixels, share of the full range."""


def rt1_families(data: Path, runs: Path) -> list[PolicyFamily]:
    """The RT-1 families that ship with the drawer suite."""

    def family(
        name: str, seed: int, steps: int, description: str, failures: str, **what: Any
    ) -> PolicyFamily:
        training = _training(data, runs, name, seed, steps, **what)
        return PolicyFamily(name, training, {name: "at-100"}, description, failures)

    main = PolicyTraining(
        Demonstrations(data, labels="expert", episodes=1200),
        runs / "main",
        NETWORK,
        save_at=(0.02, 0.15, 0.4, 1.0),
        blur=BLUR,
        noise=NOISE,
    )
    crisp = family(
        "crisp",
        12,
        900,
        "clean expert labels, frames as they are",
        "it seldom fails; then it hovers over the bar",
    )
    recorded: dict[str, Any] = {"labels": "recorded", "episodes": None}
    return [
        PolicyFamily(
            "main",
            main,
            {"begin": "at-2", "15-percent": "at-15", "40-percent": "at-40", "converged": "at-100"},
            "clean expert labels",
            "saved early, it draws back from the drawer (2 %), pushes past it or hovers over it (15 %); later "
            "(40 %), in openings, it bobs up and down over the bar, a few millimetres beside where it would have "
            "to go down",
        ),
        family(
            "noisy",
            6,
            700,
            "an expert whose labels are noisy",
            "it swings by a step to either side of the handle, and opens next to nothing",
            label_noise=0.6,
        ),
        family(
            "imitator",
            7,
            600,
            "the actions of successful, partly noisy episodes",
            "it comes down on the drawer's rim, or leaves the path of its teachers, and stays there",
            **recorded,
            controllers=("expert", "noisy"),
            successful=True,
        ),
        replace(crisp, training=replace(_rt1(crisp), blur=0.0, noise=0.0)),
        family(
            "careless",
            23,
            600,
            "the actions of experts and of those who miss",
            "it bobs up and down beside the handle, or pushes part of the way",
            **recorded,
            controllers=("expert", "miss"),
        ),
    ]


def _rt1(family: PolicyFamily) -> PolicyTraining:
    assert isinstance(family.training, PolicyTraining)
    return family.training


def recorders(data: Path, runs: Path) -> list[PolicyFamily]:
    """Families that only act in training data."""
    unlike: list[tuple[str, int, int, dict[str, Any]]] = [
        ("half", 2, 600, {}),
        ("some", 16, 650, {"episodes": 150}),
        ("gentle", 17, 700, {"action_scale": 0.4}),
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
