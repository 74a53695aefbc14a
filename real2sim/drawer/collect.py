"""Physics episodes of mixed quality for training: successes, near misses, failures, wandering, standing still.

Scripted controllers act, or policies that were trained: those end up in places of their own.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from tqdm import tqdm

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
    expert_action,
)
from real2sim.drawer.physics import HORIZON, STATE_NAMES, TASKS, DrawerPhysics, DrawerStart, is_success
from real2sim.drawer.presets import EXPERT_LABELS, drawer_robot
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.npz import EXPERT_LABELS_FILE
from real2sim.files import write_json
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.simulation.observation import observe_frames


@dataclass(frozen=True)
class Collect:
    """Record physics episodes of scripted controllers, or of policies, as a dataset folder (extra 'physics')."""

    out: Path
    """Folder of the dataset; episodes that are already there are kept."""
    episodes: int = 5000
    """How many episodes the folder shall hold."""
    seed: int = 1
    """Seed of the dataset; episode i depends on (seed, i) alone."""
    processes: int = 2
    """Worker processes."""
    mix: Literal["broad", "contact", "unsure", "all"] = "broad"
    """Which controllers act: ``broad`` covers everything a controller may do, ``contact`` what happens at the
    handle: drawers moved part of the way, grazing pushes, hovering; ``unsure`` what slow, late and undecided
    policies do: creep, hover just above the handle, move the drawer back again; ``all`` 40, 30 and 30 % of them."""
    images: bool = True
    """Record camera frames; without them an episode costs half the time, enough to teach the prediction of states."""
    policies: tuple[Path, ...] = ()
    """RT-1 policy folders; given some, one of them, drawn per episode, acts in place of ``mix``, as random as its
    temperature says or up to twice as much.  Never those that a model taught with these episodes shall
    evaluate."""

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.processes < 1:
            raise ValueError(
                f"episodes and processes must be at least 1, got {self.episodes} and {self.processes}"
            )
        if self.policies and not self.images:
            raise ValueError("policies act on camera frames; leave out --no-images")


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
UNSURE = {"slow": 0.3, "hesitant": 0.25, "hover": 0.25, "reverse": 0.2}
"""The same for the mix of what slow, late and undecided policies do."""
_SHARES: tuple[tuple[str, float, dict[str, float]], ...] = (
    ("broad", 0.4, BROAD),
    ("contact", 0.3, CONTACT),
    ("unsure", 0.3, UNSURE),
)
ALL = {f"{mix}/{kind}": share * kinds[kind] for mix, share, kinds in _SHARES for kind in kinds}
MIXES = {"broad": BROAD, "contact": CONTACT, "unsure": UNSURE, "all": ALL}


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


class PolicyController:
    """A policy at the place of a scripted controller: it sees only the newest of ``frames``, which grow."""

    def __init__(
        self, policy: RT1Policy, task: str, frames: list[np.ndarray], rng: np.random.Generator
    ) -> None:
        self._policy, self._frames = policy, frames
        policy.seed([int(rng.integers(2**62))])
        self._instruction = TASKS[task]
        policy.reset([self._instruction])

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        action: np.ndarray = self._policy.act(observe_frames(self._frames[-1][None], [self._instruction]))[0]
        return action


def record_episode(
    physics: DrawerPhysics,
    seed: int,
    index: int,
    kinds: dict[str, float] = BROAD,
    policies: tuple[Path, ...] = (),
    images: bool = True,
) -> dict[str, np.ndarray]:
    """One episode in the dataset's layout; T = horizon + 1 frames, the last action is unused.

    One of ``policies`` acts, if there are any, else a controller of one of the ``kinds``.  ``state`` is measured at
    the moment of each frame; without ``images`` nothing is rendered, and policies, which look, cannot act.
    """
    rng = np.random.default_rng([seed, index])
    task = str(rng.choice(list(TASKS)))
    start = DrawerStart.draw(task, rng)
    if rng.random() < 0.25:  # any opening, so that the model knows drawers half open too
        start = DrawerStart(start.drawer_x, float(rng.uniform(-0.16, 0.0)), start.hand)
    frames = [physics.reset(start)]
    if policies:
        kind = "policy"
        policy = _policy(policies[int(rng.integers(len(policies)))])
        policy.temperature = policy.network.config.temperature * float(rng.uniform(1.0, 2.0))
        controller: Controller = PolicyController(policy, task, frames, rng)
    else:
        kind, controller = draw_controller(task, kinds, rng)
    actions: list[np.ndarray] = []
    drawers, hands, states = [], [], []
    labels: dict[str, list[np.ndarray]] = {name: [] for name in TASKS}
    for step in range(HORIZON + 1):
        drawers.append(physics.drawer)
        hands.append(physics.hand)
        states.append(physics.state)
        for name, rows in labels.items():
            rows.append(expert_action(name, physics.hand, physics.handle))
        if step == HORIZON:
            actions.append(np.zeros_like(actions[-1]))
            break
        actions.append(controller.act(step, physics.hand, physics.handle))
        physics.act(actions[-1])
        if images:
            frames.append(physics.render())
    recorded = {"image": np.stack(frames)} if images else {}
    return recorded | {
        "action": np.stack(actions).astype(np.float32),
        "drawer": np.array(drawers, np.float32),
        "hand": np.array(hands, np.float32),
        "state": np.stack(states),
        "state_names": np.array(STATE_NAMES),
        "expert_close": np.stack(labels["close_drawer"]),
        "expert_open": np.stack(labels["open_drawer"]),
        "instruction": np.array(TASKS[task]),
        "task": np.array(task),
        "success": np.array(bool(is_success(task, drawers[-1]))),
        "controller": np.array(kind),
    }


@lru_cache(maxsize=64)
def _policy(folder: Path) -> RT1Policy:
    return RT1Policy.from_folder(folder)


def episode_path(folder: Path, index: int) -> Path:
    """Where episode ``index`` of a dataset lies."""
    return folder / f"episode_{index:05d}.npz"


def collect(config: Collect) -> int:
    """Record what is missing of a dataset; gives the number of episodes recorded now."""
    config.out.mkdir(parents=True, exist_ok=True)
    drawer_robot().save(config.out)
    write_json(config.out / EXPERT_LABELS_FILE, EXPERT_LABELS)
    missing = [index for index in range(config.episodes) if not episode_path(config.out, index).exists()]
    context = multiprocessing.get_context("spawn")
    with (
        context.Pool(config.processes, initializer=_one_thread) as pool,
        tqdm(total=len(missing), unit="episode") as bar,
    ):
        for _ in pool.imap_unordered(_record, [(config, index) for index in missing]):
            bar.update()
    return len(missing)


_physics: DrawerPhysics | None = None


def _one_thread() -> None:
    torch.set_num_threads(1)


def _record(job: tuple[Collect, int]) -> None:
    global _physics
    _physics = _physics or DrawerPhysics()
    config, index = job
    episode = record_episode(_physics, config.seed, index, MIXES[config.mix], config.policies, config.images)
    write_arrays(episode_path(config.out, index), episode)
