"""From the name of a policy to something that acts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from real2sim.actions import rt1_robot
from real2sim.checks import check_name, expanded
from real2sim.evaluation.own_policies import OwnPolicy, own_policies
from real2sim.evaluation.policy_source import PolicyMaker, PolicySource
from real2sim.evaluation.suite_policies import POLICIES_FOLDER, replay_controllers, shipped_policies
from real2sim.evaluation.training_families import distinct_families, training_folder
from real2sim.files import read_bytes
from real2sim.model_folder import CONFIG_FILE, folder_fingerprint
from real2sim.policies.python_policy import find_python, is_python, python_file
from real2sim.policies.trained import load_policy, policy_kind
from real2sim.robot import Robot, read_robot
from real2sim.robot_match import check_same_robot
from real2sim.simulation.contracts import Policy, PolicyWithRequirements, Requirements, check_requirements
from real2sim.simulation.loop import Job
from real2sim.simulation.suite import Suite
from real2sim.wording import did_you_mean, without_password

SAVED_MODEL_FILE = "saved_model.pb"
REPLAY = "replay:"
SERVERS = ("ws://", "wss://", "zmq://")
"""How the addresses of policy servers begin."""
ALL_SHIPPED, ALL_REPLAYS = "shipped", "replay:all"


def find_policies(
    names: Sequence[str], suite: Suite, own: Mapping[str, Policy | OwnPolicy] | None = None
) -> list[PolicySource]:
    """The policies that ``names`` stand for, in that order.

    A name is one of the suite's shipped policies, ``shipped`` (all of them), a folder with a trained policy,
    ``random``, ``replay:<controller>``, ``replay:all``, ``ws://`` or ``zmq://host:port`` (a policy server),
    a folder with RT-1's SavedModel and its ``embeddings.npz``, ``module.py:Class`` (a policy in Python, whose file is
    imported), or a key of ``own``.

    ``name=place`` calls a folder or server by another name, ``family:name=place`` also says which training run it
    comes from.  Checkpoints in one training folder (``run/at-50``, ``run/at-100``) share a family unless told
    otherwise.
    """
    objects = own_policies(own)
    sources = [source for name in names for source in _find(name, suite, objects)]
    if not sources:
        raise ValueError(f"no policy was asked for, or suite {suite.name!r} ships none; name at least one")
    seen: set[str] = set()
    for source in sources:
        check_name("policy", source.name)
        if source.name in seen:
            raise ValueError(
                f"two policies are called {source.name!r}; give one of them another name by "
                "writing name=folder"
            )
        seen.add(source.name)
        check_fits(source, suite)
    return distinct_families(sources)


def read_name(written: str) -> tuple[str, str, str]:
    """Family, name and place of ``family:name=place``, ``name=place`` or ``place``; empty where not given.

    What is there as it is written is a place: folders are called ``lr=0.1`` too.

    Raises:
        ValueError: if there is a colon or an equals sign and nothing where it says that something is.
    """
    if written.startswith(SERVERS) or "=" not in written or _is_there(written):
        return "", "", written
    label, _, place = written.partition("=")
    family, colon, name = label.rpartition(":")
    if not place or not name or (colon and not family):
        raise ValueError(
            f"{without_password(written)!r} is not a policy; expected family:name=place, name=place or a place alone"
        )
    return family, name, place


def _is_there(place: str) -> bool:
    """Whether a folder, or the file of ``module.py:Class``, has this very name."""
    try:
        return (python_file(place) or Path(place)).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        # It is no path, or in the home of somebody who is not known.
        return False


def check_fits(source: PolicySource, suite: Suite) -> None:
    """Raise a ValueError that names both sides unless a policy fits the suite's robot; nothing heavy is loaded."""
    where = f"suite {suite.name!r}"
    if source.robot is not None:
        check_same_robot(source.robot, f"policy {source.name!r}", suite.robot, where)
    if source.requires is not None:
        check_requirements(source.requires, suite.robot, source.name, where)


def _find(name: str, suite: Suite, own: Mapping[str, OwnPolicy]) -> list[PolicySource]:
    everywhere = tuple(task.name for task in suite.tasks)
    shipped = shipped_policies(suite)
    if name in own:
        return [_own(name, own[name], everywhere)]
    if name == ALL_SHIPPED:
        return [source for item in shipped for source in _find(item, suite, {})]
    if name in shipped:
        return [_trained(name, shipped[name], suite.folder / POLICIES_FOLDER / name, everywhere)]
    if name == "random":
        return [PolicySource(name, name, "random", "random", everywhere, lambda device: _random(suite))]
    if name.startswith(REPLAY):
        return _replays(name, suite)
    family, label, place = read_name(name)
    if place.startswith(SERVERS):
        return [_named(_remote(label, place, suite.robot, everywhere), family)]
    if is_python(place):
        return [_named(_python(label, place, suite, everywhere), family)]
    folder = expanded(place)
    chosen = label or folder.resolve().name
    if (folder / CONFIG_FILE).is_file():
        source = _trained(chosen, chosen, folder, everywhere)
    elif (folder / SAVED_MODEL_FILE).is_file():
        source = _published(chosen, folder, everywhere)
    else:
        raise _unknown(name, suite, own, folder)
    training = training_folder(folder)
    if training is not None and not family:
        return [replace(source, family=training.name, training=training)]
    return [_named(source, family)]


def _named(source: PolicySource, family: str) -> PolicySource:
    return replace(source, family=family) if family else source


def _unknown(name: str, suite: Suite, own: Mapping[str, OwnPolicy], folder: Path) -> ValueError:
    _, label, place = read_name(name)
    if "://" in place:
        shown = without_password(place)
        return ValueError(
            f"{shown!r} begins like no policy server; expected {', '.join(SERVERS[:-1])} or {SERVERS[-1]}"
        )
    if label and (place in shipped_policies(suite) or place == "random" or place.startswith(REPLAY)):
        return ValueError(
            f"{place!r} keeps its name; write {place} alone, or the folder of a policy under another name"
        )
    inside = []
    if folder.is_dir():
        inside = sorted(str(config.parent) for config in folder.glob(f"*/{CONFIG_FILE}"))
    if inside:
        return ValueError(
            f"policy {name!r}: {folder} has no {CONFIG_FILE} of its own, but holds the folders "
            f"{', '.join(inside[:4])}{', …' if len(inside) > 4 else ''}; name one of those"
        )
    shipped = shipped_policies(suite)
    known = [
        *own,
        *shipped,
        ALL_SHIPPED,
        "random",
        ALL_REPLAYS,
        *(REPLAY + item for item in replay_controllers(suite)),
    ]
    return ValueError(
        f"unknown policy {without_password(name)!r}{did_you_mean(name, known)}; it is neither a folder with a "
        f"{CONFIG_FILE} nor one of "
        f"{', '.join([*shipped, 'random', 'replay:<controller>', 'module.py:Class', 'ws://host:port'])}"
    )


def _own(name: str, own: OwnPolicy, tasks: tuple[str, ...]) -> PolicySource:
    needs = own.policy.requires if isinstance(own.policy, PolicyWithRequirements) else None

    def load(device: str) -> PolicyMaker:
        policy = own.acting(name)
        return lambda jobs: policy

    return PolicySource(name, name, "python", own.fingerprint, tasks, load, requires=needs)


def _python(name: str, place: str, suite: Suite, tasks: tuple[str, ...]) -> PolicySource:
    found = find_python(place)
    chosen = name or found.name

    def load(device: str) -> PolicyMaker:
        policy = found.make(suite.robot, device, chosen)
        if isinstance(policy.policy, PolicyWithRequirements):
            check_requirements(policy.policy.requires, suite.robot, chosen, f"suite {suite.name!r}")
        return lambda jobs: policy

    identity = f"{found.name} {found.fingerprint}"
    return PolicySource(chosen, chosen, "python", identity, tasks, load, requires=found.requires)


def _trained(name: str, family: str, folder: Path, tasks: tuple[str, ...]) -> PolicySource:
    def load(device: str) -> PolicyMaker:
        policy = load_policy(folder, device)
        return lambda jobs: policy

    robot = read_robot(folder)
    requires = Requirements(action=rt1_robot().action) if robot is None else None
    return PolicySource(
        name,
        family,
        policy_kind(folder),
        folder_fingerprint(folder),
        tasks,
        load,
        requires=requires,
        robot=robot,
    )


def _random(suite: Suite) -> PolicyMaker:
    from real2sim.policies.random_policy import RandomPolicy

    policy = RandomPolicy(suite.robot)
    return lambda jobs: policy


def _published(name: str, folder: Path, tasks: tuple[str, ...]) -> PolicySource:
    def load(device: str) -> PolicyMaker:
        from real2sim.policies.rt1.saved_model import SavedModelRT1

        policy = SavedModelRT1(folder)
        return lambda jobs: policy

    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(read_bytes(path) if path.is_file() else b"")
    requires = Requirements(action=rt1_robot().action)
    return PolicySource(name, name, "rt1", digest.hexdigest()[:16], tasks, load, requires=requires)


def _remote(name: str, written: str, robot: Robot, tasks: tuple[str, ...]) -> PolicySource:
    """A policy server; how long it is waited for does not make it another policy."""
    from real2sim.policies.remote_options import WAITING, RemoteOptions, read_address
    from real2sim.policies.remote_plan import check_known
    from real2sim.policies.remote_policy import remote_policy

    def load(device: str) -> PolicyMaker:
        policy = remote_policy(written, robot)
        return lambda jobs: policy

    address, options = read_address(written)
    if not address.startswith("zmq:"):
        check_known(robot, RemoteOptions(**options))
    meaning = ",".join(f"{key}={value}" for key, value in options.items() if key not in WAITING)
    # Names and fingerprints are written down and printed.
    identity = without_password(f"{address}#{meaning}" if meaning else address)
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
    steps: dict[tuple[str, str], int] = {}
    for task in sorted(recordings):
        digest.update(task.encode() + recordings[task].tobytes())
        lengths = suite.replay_steps(task, controller)
        if lengths is not None:
            digest.update(lengths.tobytes())
            steps |= {(task, start): int(length) for start, length in zip(rows[task], lengths, strict=False)}
    name = REPLAY + controller
    return PolicySource(
        name, name, "replay", digest.hexdigest()[:16], tuple(recordings), lambda device: make, steps=steps
    )
