"""Which scripted controllers act in a recording: mixes of experts, flawed ones and aimless ones."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from real2sim.drawer.experts import (
    Drifter,
    FlawedExpert,
    Flaws,
    Hesitant,
    Hoverer,
    Interrupted,
    Lingerer,
    Reverser,
    Wanderer,
)


class Controller(Protocol):
    """Acts on the physics state."""

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,)."""


BROAD = {
    "expert": 0.12,
    "noisy": 0.16,
    "scaled": 0.08,
    "miss": 0.24,
    "stop": 0.10,
    "switch": 0.08,
    "wander": 0.12,
    "drift": 0.08,
    "still": 0.02,
}
"""Share of each kind of controller; misses are the largest.  A model that has seen only success hallucinates it."""
CONTACT = {"partial": 0.35, "linger": 0.15, "graze": 0.2, "noisy": 0.15, "wander": 0.15}
"""The same for the mix of what happens at the handle."""
GRAZING = {"brush": 0.75, "graze": 0.25}
"""The same for the mix of pushes at the handle's ends, where a millimetre decides whether the drawer is kicked."""
UNSURE = {"slow": 0.3, "hesitant": 0.25, "hover": 0.25, "reverse": 0.2}
"""The same for the mix of what slow, late and undecided policies do."""
_SHARES: tuple[tuple[str, float, dict[str, float]], ...] = (
    ("broad", 0.4, BROAD),
    ("contact", 0.3, CONTACT),
    ("unsure", 0.3, UNSURE),
)
ALL = {f"{mix}/{kind}": share * kinds[kind] for mix, share, kinds in _SHARES for kind in kinds}
MIXES = {"broad": BROAD, "contact": CONTACT, "unsure": UNSURE, "grazing": GRAZING, "all": ALL}


def draw_controller(task: str, kinds: dict[str, float], rng: np.random.Generator) -> tuple[str, Controller]:
    """A kind's name and a controller of that kind."""
    kind = str(rng.choice(np.array(list(kinds)), p=list(kinds.values()))).split("/")[-1]
    if kind == "wander":
        return kind, Wanderer(rng)
    if kind == "drift":
        return kind, Drifter(rng)
    if kind == "linger":
        return kind, Lingerer(rng)
    if kind == "hover":
        return kind, Hoverer(rng)
    if kind == "reverse":
        return kind, Reverser(rng)
    if kind == "hesitant":
        aim = (float(rng.normal(0, 0.02)), float(rng.normal(0, 0.012)), float(rng.normal(0, 0.015)))
        flaws = Flaws(noise=float(rng.uniform(0.0, 0.3)), scale=float(rng.uniform(0.3, 1.0)), aim=aim)
        return kind, Hesitant(task, flaws, rng)
    if kind == "partial":
        noise, scale = float(rng.uniform(0.0, 0.4)), float(rng.uniform(0.4, 1.0))
        return kind, Interrupted(task, Flaws(noise=noise, scale=scale), rng)
    slight = float(rng.uniform(0.0, 0.15))
    flaws = {
        "expert": lambda: Flaws(noise=slight),
        "noisy": lambda: Flaws(
            noise=float(rng.uniform(0.15, 1.2)), random=float(rng.uniform(0, 0.7) * (rng.random() < 0.5))
        ),
        "scaled": lambda: Flaws(noise=slight, scale=float(rng.uniform(0.15, 0.8))),
        "miss": lambda: Flaws(noise=float(rng.uniform(0.0, 0.3)), aim=_draw_miss(task, rng)),
        "graze": lambda: Flaws(
            noise=float(rng.uniform(0.0, 0.5)),
            scale=float(rng.uniform(0.5, 1.0)),
            aim=(float(rng.choice([-1.0, 1.0]) * rng.uniform(0.02, 0.11)), 0.0, float(rng.normal(0, 0.02))),
        ),
        "brush": lambda: Flaws(
            noise=float(rng.uniform(0.0, 0.4)),
            scale=float(rng.uniform(0.5, 1.0)),
            aim=(
                float(rng.choice([-1.0, 1.0]) * rng.uniform(0.085, 0.13)),
                float(rng.normal(0, 0.01)),
                float(rng.normal(0, 0.015)),
            ),
        ),
        "stop": lambda: Flaws(noise=slight, stop=int(rng.integers(1, 14))),
        "slow": lambda: Flaws(
            noise=float(rng.uniform(0.0, 0.2)),
            scale=float(rng.uniform(0.15, 0.6)),
            aim=(float(rng.normal(0, 0.015)), float(rng.normal(0, 0.01)), float(rng.normal(0, 0.01))),
            switch=int(rng.choice(np.array([1000, int(rng.integers(4, 16))]))),
        ),
        "switch": lambda: Flaws(noise=slight, switch=int(rng.integers(0, 14))),
        "still": lambda: Flaws(stop=0),
    }[kind]()
    return kind, FlawedExpert(task, flaws, rng)


def _draw_miss(task: str, rng: np.random.Generator) -> tuple[float, float, float]:
    side = float(rng.choice([-1.0, 1.0]))
    place = rng.random()
    if place < 0.5:  # beside: from grazing the end of the bar to clearly past it
        return side * float(rng.uniform(0.03, 0.18)), float(rng.normal(0, 0.01)), float(rng.normal(0, 0.01))
    if place < 0.75:  # above: on the bar or the drawer's rim, or over everything
        return float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02)), float(rng.uniform(0.02, 0.14))
    depth = 0.08 if task == "open_drawer" else 0.04  # before or behind the bar
    return float(rng.normal(0, 0.03)), side * float(rng.uniform(0.02, depth)), float(rng.normal(0, 0.02))
