"""Physics episodes of mixed quality for training: successes, near misses, failures, wandering, standing still.

Scripted controllers act, or policies that were trained: those end up in places of their own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from real2sim.checks import check_kinds, check_seed, check_whole
from real2sim.drawer.experts import expert_action
from real2sim.drawer.mixes import BROAD, MIXES, Controller, draw_controller
from real2sim.drawer.physics import HORIZON, STATE_NAMES, TASKS, DrawerPhysics, DrawerStart, is_success
from real2sim.drawer.presets import EXPERT_LABELS, drawer_robot
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.npz import EXPERT_LABELS_FILE, read_npz
from real2sim.episodes.own_folder import check_own_folder
from real2sim.episodes.parallel import in_processes
from real2sim.episodes.recording_parts import RECORD_FILE, open_recording
from real2sim.files import write_json
from real2sim.policies.places import check_place, place_fingerprint, policy_at
from real2sim.policies.policy import Policy, StochasticPolicy
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.simulation.action_checks import check_actions
from real2sim.simulation.observation import observe

LOG = logging.getLogger(__name__)
WHERE = "the drawer robot"
"""What messages call whose robot a policy has to fit."""


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
    mix: Literal["broad", "contact", "unsure", "grazing", "all"] = "broad"
    """Which controllers act: ``broad`` covers everything a controller may do, ``contact`` what happens at the
    handle: drawers moved part of the way, grazing pushes, hovering; ``unsure`` what slow, late and undecided
    policies do: creep, hover just above the handle, move the drawer back again; ``grazing`` pushes at the ends of the
    handle; ``all`` 40, 30 and 30 % of the first three."""
    images: bool = True
    """Record camera frames; without them an episode costs half the time, enough to teach the prediction of states."""
    policies: tuple[str, ...] = ()
    """Folders of trained policies, or `module.py:Class` for a policy in a Python file; given some, one of them, drawn
    per episode, acts in place of ``mix``; an RT-1 as random as its temperature says or up to twice as much.  Never
    those that a model taught with these episodes shall evaluate."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_whole("episodes", self.episodes)
        check_whole("processes", self.processes, 1, 1024)
        check_seed("seed", self.seed)
        if self.policies and not self.images:
            raise ValueError("policies act on camera frames; leave out --no-images")


class PolicyController:
    """A policy at the place of a scripted controller: it sees only the newest of ``frames``, which grow."""

    def __init__(
        self, policy: Policy, name: str, task: str, frames: list[np.ndarray], rng: np.random.Generator
    ) -> None:
        self._policy, self._name, self._frames = policy, name, frames
        seed = int(rng.integers(2**62))
        if isinstance(policy, StochasticPolicy):
            policy.seed([seed])
        self._instruction, self._robot = TASKS[task], drawer_robot()
        policy.reset([self._instruction])

    def act(self, step: int, hand: np.ndarray, handle: np.ndarray) -> np.ndarray:
        """Action (13,) at a step."""
        seen = observe(self._robot, self._frames[-1][None], [self._instruction])
        answer = self._policy.act(seen)
        action: np.ndarray = check_actions(answer, self._robot, policy=self._name, step=step, lanes=1)[0, 0]
        return action


def record_episode(
    physics: DrawerPhysics,
    seed: int,
    index: int,
    kinds: dict[str, float] = BROAD,
    policies: tuple[str, ...] = (),
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
        name = policies[int(rng.integers(len(policies)))]
        policy: Any = _policy(name)
        if isinstance(policy, RT1Policy):
            policy.temperature = policy.network.config.temperature * float(rng.uniform(1.0, 2.0))
        controller: Controller = PolicyController(policy, name, task, frames, rng)
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
def _policy(place: str) -> Policy:
    return policy_at(place, drawer_robot(), WHERE)


def episode_path(folder: Path, index: int) -> Path:
    """Where episode ``index`` of a dataset lies."""
    return folder / f"episode_{index:05d}.npz"


def collect(config: Collect) -> int:
    """Record what is missing or damaged of a dataset; gives the number of episodes recorded now.

    Who acts in an episode is kept beside it, so that one that is recorded again is the same one.  Raises ValueError
    if the folder holds episodes of another seed, or asks for others to act in those that are there.
    """
    for place in config.policies:
        check_place(place, drawer_robot(), WHERE)
    out, mix = config.out, "policies" if config.policies else config.mix
    acting = {"mix": mix, "policies": [place_fingerprint(place) for place in config.policies]}
    recorded = 1 + max((_number(path) for path in out.glob("episode_*.npz")), default=-1)
    if not recorded and not (out / RECORD_FILE).is_file():
        check_own_folder(out, "a recording")
    settings = {"seed": config.seed, "images": config.images}
    who = open_recording(out, settings, acting, recorded, config.episodes)
    missing = [index for index in range(config.episodes) if not _is_there(config, index)]
    jobs = [(config, index, _kinds(config, index, who[index], acting)) for index in missing]
    drawer_robot().save(out)
    write_json(out / EXPERT_LABELS_FILE, EXPERT_LABELS)
    with tqdm(total=len(missing), unit="episode") as bar:
        for _ in in_processes(_record, jobs, config.processes):
            bar.update()
    return len(missing)


def _number(path: Path) -> int:
    number = path.stem.removeprefix("episode_")
    if not number.isdigit():
        raise ValueError(f"{path} is no episode of a recording; move it elsewhere")
    return int(number)


def _is_there(config: Collect, index: int) -> bool:
    """Whether an episode is recorded and can be read; that a damaged one is recorded again is said."""
    path = episode_path(config.out, index)
    try:
        read_npz(path, ("action", "state", "success", *(("image",) if config.images else ())))
    except FileNotFoundError:
        return False
    except (ValueError, OSError) as error:
        LOG.warning("%s; the episode is recorded again", error)
        return False
    return True


def _kinds(
    config: Collect, index: int, acted: dict[str, Any], acting: dict[str, Any]
) -> dict[str, float] | None:
    """Shares of the controllers that act in a missing episode, or None where the policies asked for do."""
    if not acted["policies"]:
        return MIXES[acted["mix"]]
    if acted != acting:
        raise ValueError(
            f"episode {index} of {config.out} is missing, and other policies than are asked for acted in it; record "
            f"it first, with those and --episodes {index + 1}"
        )
    return None


_physics: DrawerPhysics | None = None


def _record(job: tuple[Collect, int, dict[str, float] | None]) -> None:
    global _physics
    if _physics is None:
        torch.set_num_threads(1)
        _physics = DrawerPhysics()
    config, index, kinds = job
    policies = () if kinds is not None else config.policies
    episode = record_episode(_physics, config.seed, index, kinds or BROAD, policies, config.images)
    write_arrays(episode_path(config.out, index), episode)
