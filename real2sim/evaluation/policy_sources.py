"""From the name of a policy to something that acts."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.model_folder import CONFIG_FILE, folder_fingerprint, read_kind
from real2sim.policies.policy import Policy
from real2sim.simulation.loop import Job
from real2sim.simulation.suite import Suite
from real2sim.wording import did_you_mean

POLICIES_FILE = "policies.csv"
POLICIES_FOLDER = "policies"
SAVED_MODEL_FILE = "saved_model.pb"
REPLAY = "replay:"
ALL_SHIPPED, ALL_REPLAYS = "shipped", "replay:all"

PolicyMaker = Callable[[Sequence[Job]], Policy]
"""Gives the policy for a batch of episodes; a loaded network may be given again and again."""


@dataclass(frozen=True)
class PolicySource:
    """A policy that can be loaded: what rows call it, where it comes from, and how to get it."""

    name: str
    family: str
    """The training run it comes from; checkpoints of one run share it."""
    kind: str
    """``"rt1"``, ``"replay"``, ``"random"``, ``"remote"`` or ``"python"``."""
    fingerprint: str
    """Changes when the weights or recordings do."""
    tasks: tuple[str, ...]
    """The suite's tasks that it can be asked for."""
    load: Callable[[str], PolicyMaker]
    """Loads it onto a device such as ``"cpu"``."""


def find_policies(
    names: Sequence[str], suite: Suite, own: Mapping[str, Policy] | None = None
) -> list[PolicySource]:
    """The policies that ``names`` stand for, in that order.

    A name is one of the suite's shipped policies, ``shipped`` (all of them), a folder with a trained policy
    (called by the folder's name, or by ``name=folder``), ``random``, ``replay:<controller>``, ``replay:all``,
    ``ws://host:port`` (a policy server, see `RemotePolicy`), a folder with RT-1's SavedModel and its
    ``embeddings.npz``, or a key of ``own``.
    """
    own = own or {}
    sources = [source for name in names for source in _find(name, suite, own)]
    if not sources:
        raise ValueError(f"no policy was asked for, or suite {suite.name!r} ships none; name at least one")
    seen: set[str] = set()
    for source in sources:
        if source.name in seen:
            raise ValueError(
                f"two policies are called {source.name!r}; give one of them another name by "
                "writing name=folder"
            )
        seen.add(source.name)
    return sources


def shipped_policies(suite: Suite) -> dict[str, str]:
    """Name -> family of the trained policies that come with a suite."""
    path = suite.folder / POLICIES_FILE
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and not {"policy", "family"} <= set(rows[0]):
        raise ValueError(f"{path} has columns {', '.join(rows[0])}; expected at least policy and family")
    return {row["policy"]: row["family"] for row in rows}


def replay_controllers(suite: Suite) -> dict[str, dict[str, np.ndarray]]:
    """Controller -> task -> scripted actions (starts horizon 13) that come with a suite."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for task in suite.tasks:
        for controller, actions in suite.replays(task.name).items():
            found.setdefault(controller, {})[task.name] = actions
    return found


def _find(name: str, suite: Suite, own: Mapping[str, Policy]) -> list[PolicySource]:
    everywhere = tuple(task.name for task in suite.tasks)
    shipped = shipped_policies(suite)
    if name in own:
        policy = own[name]
        return [PolicySource(name, name, "python", "python", everywhere, lambda device: lambda jobs: policy)]
    if name == ALL_SHIPPED:
        return [source for item in shipped for source in _find(item, suite, {})]
    if name in shipped:
        return [_trained(name, shipped[name], suite.folder / POLICIES_FOLDER / name, everywhere)]
    if name == "random":
        return [PolicySource(name, name, "random", "random", everywhere, lambda device: _random(suite))]
    if name.startswith(REPLAY):
        return _replays(name, suite)
    if name.startswith(("ws://", "wss://")):
        return [_remote("", name, everywhere)]
    label, _, place = name.partition("=")
    if place.startswith(("ws://", "wss://")):
        return [_remote(label, place, everywhere)]
    folder = Path(place or name).expanduser()
    chosen = label if place else folder.resolve().name
    if (folder / CONFIG_FILE).is_file():
        return [_trained(chosen, chosen, folder, everywhere)]
    if (folder / SAVED_MODEL_FILE).is_file():
        return [_published(chosen, folder, everywhere)]
    known = [
        *own,
        *shipped,
        ALL_SHIPPED,
        "random",
        ALL_REPLAYS,
        *(REPLAY + item for item in replay_controllers(suite)),
    ]
    raise ValueError(
        f"unknown policy {name!r}{did_you_mean(name, known)}; it is neither a folder with a "
        f"{CONFIG_FILE} nor one of "
        f"{', '.join([*shipped, 'random', 'replay:<controller>', 'ws://host:port'])}"
    )


def _trained(name: str, family: str, folder: Path, tasks: tuple[str, ...]) -> PolicySource:
    kind = read_kind(folder)
    if kind != "rt1":
        raise ValueError(f"{folder / CONFIG_FILE} holds a model of kind {kind!r}; expected a policy ('rt1')")

    def load(device: str) -> PolicyMaker:
        from real2sim.policies.rt1.policy import RT1Policy

        policy = RT1Policy.from_folder(folder, device=device)
        return lambda jobs: policy

    return PolicySource(name, family, kind, folder_fingerprint(folder), tasks, load)


def _random(suite: Suite) -> PolicyMaker:
    from real2sim.policies.random_policy import RandomPolicy

    policy = RandomPolicy(bounds=suite.bounds)
    return lambda jobs: policy


def _published(name: str, folder: Path, tasks: tuple[str, ...]) -> PolicySource:
    def load(device: str) -> PolicyMaker:
        from real2sim.policies.rt1.saved_model import SavedModelRT1

        policy = SavedModelRT1(folder)
        return lambda jobs: policy

    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return PolicySource(name, name, "rt1", digest.hexdigest()[:16], tasks, load)


def _remote(name: str, written: str, tasks: tuple[str, ...]) -> PolicySource:
    """A policy server; how long it is waited for does not make it another policy."""
    from real2sim.policies.remote import WAITING, RemotePolicy, read_address

    def load(device: str) -> PolicyMaker:
        policy = RemotePolicy(written)
        return lambda jobs: policy

    address, options = read_address(written)
    meaning = ",".join(f"{key}={value}" for key, value in options.items() if key not in WAITING)
    identity = f"{address}#{meaning}" if meaning else address
    return PolicySource(name or identity, name or identity, "remote", identity, tasks, load)


def _replays(name: str, suite: Suite) -> list[PolicySource]:
    controllers = replay_controllers(suite)
    asked = list(controllers) if name == ALL_REPLAYS else [name.removeprefix(REPLAY)]
    for controller in asked:
        if controller not in controllers:
            raise ValueError(
                f"suite {suite.name!r} has no recorded controller "
                f"{controller!r}{did_you_mean(controller, list(controllers))}; "
                f"it has {', '.join(controllers) or 'none'}"
            )
    return [_replay(controller, controllers[controller], suite) for controller in asked]


def _replay(controller: str, recordings: Mapping[str, np.ndarray], suite: Suite) -> PolicySource:
    from real2sim.policies.replay import ReplayPolicy

    rows = {task: {start.id: i for i, start in enumerate(suite.starts(task))} for task in recordings}

    def make(jobs: Sequence[Job]) -> Policy:
        actions = []
        for job in jobs:
            task, start = job.start.task.name, job.start.id
            recorded = recordings[task]
            if rows[task][start] >= len(recorded):
                raise ValueError(
                    f"controller {controller!r} was recorded for the first {len(recorded)} "
                    f"starts of task {task!r}; "
                    f"start {start!r} is not among them, ask for fewer starts"
                )
            actions.append(recorded[rows[task][start]])
        return ReplayPolicy(np.stack(actions))

    digest = hashlib.sha256()
    for task in sorted(recordings):
        digest.update(task.encode() + recordings[task].tobytes())
    name = REPLAY + controller
    return PolicySource(name, name, "replay", digest.hexdigest()[:16], tuple(recordings), lambda device: make)
