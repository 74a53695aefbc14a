"""Puts any policy of ours behind the wire that openpi's policy servers speak."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.checks import check_device, check_finite, check_kinds, check_whole, expanded
from real2sim.policies.places import policy_at
from real2sim.policies.policy import Policy, StochasticPolicy, observe, observe_frames
from real2sim.policies.python_policy import is_python
from real2sim.policies.servers.policy_wire import IMAGE_KEY, OBSERVATION, STATE_KEY, names_of, serve_forever
from real2sim.robot import Robot, read_robot
from real2sim.simulation.action_checks import as_numbers
from real2sim.simulation.suite import load_suite

GREETING = {"stateful": True, "convention": "real2sim"}
"""Policies of ours may remember frames, and answer in the robot's layout."""


@dataclass(frozen=True)
class ServePolicy:
    """Serve a policy to openpi clients and to ``ws://`` policies of a rollout."""

    policy: str
    """Folder of a trained policy, folder of RT-1's SavedModel (extra 'tf'), `module.py:Class` for a policy in a Python
    file (each connection gets an object of its own), or ``random``."""
    suite: str = "drawer"
    """Suite whose robot ``random`` and Python policies act for."""
    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine alone."""
    port: int = 8000
    device: str = "cpu"
    embeddings: Path | None = None
    """npz file with one sentence embedding per instruction, for a SavedModel that has none beside it."""
    gripper_dead_zone: float = 0.01
    """A SavedModel's gripper commands below this become 0, as on the Google robot; 0 for WidowX (`rt1-widowx`)."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_whole("port", self.port, 0, 65_535)
        if not self.host.strip():
            raise ValueError("host is empty; leave it out, or name an address of this machine")
        check_device(self.device)
        check_finite("gripper_dead_zone", self.gripper_dead_zone, 0, 1)


class PolicyLane:
    """One lane of a policy of ours, as a policy server needs it; ``robot`` is needed for several cameras."""

    def __init__(self, policy: Policy, robot: Robot | None = None) -> None:
        self._policy, self._robot = policy, robot
        self._instruction = ""

    def reset(self, instruction: str, seed: int | None) -> None:
        """Begin an episode."""
        if seed is not None and isinstance(self._policy, StochasticPolicy):
            self._policy.seed([seed])
        self._instruction = instruction
        self._policy.reset([instruction])

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        """The actions of a frame (K n) for an observation as `RemotePolicy` sends it."""
        robot, instructions = self._robot, [self._instruction]
        if robot is None:
            return self._policy.act(observe_frames(observation[IMAGE_KEY][None], instructions))
        actions = self._policy.act(
            observe(robot, _canvas(robot, observation), instructions, _state(robot, observation))
        )
        return as_numbers(actions, "the policy").reshape(-1, robot.action_width)


def _canvas(robot: Robot, observation: dict[str, Any]) -> np.ndarray:
    """The canvas (1 h w 3) of the robot's cameras, each of the size that it has there."""
    keys = {camera.name: OBSERVATION + camera.name for camera in robot.cameras}
    if len(keys) == 1:
        keys = {robot.cameras[0].name: IMAGE_KEY}
    missing = [key for key in keys.values() if key not in observation]
    if missing:
        raise ValueError(f"the observation has no {missing[0]!r}; it holds {names_of(observation)}")
    return robot.canvas({name: observation[key][None] for name, key in keys.items()})


def _state(robot: Robot, observation: dict[str, Any]) -> np.ndarray | None:
    """The state (1 m) of a robot that has one."""
    state = observation.get(STATE_KEY)
    if state is None or robot.state_from is None:
        return None
    if len(state) != len(robot.state):
        raise ValueError(
            f"{STATE_KEY} has {len(state)} numbers, expected the {len(robot.state)} of robot {robot.name!r}: "
            f"{', '.join(robot.state_names)}"
        )
    return state.astype(np.float32)[None]


def serve_policy(config: ServePolicy) -> None:
    """Serve until the process is stopped."""
    of_suite = config.policy == "random" or is_python(config.policy)
    suite = load_suite(config.suite)
    robot = suite.robot if of_suite else read_robot(expanded(config.policy))
    _refuse_unused(config)
    make = _maker(config, robot)
    names = {} if robot is None else {"action_names": list(robot.action_names)}
    serve_forever(lambda: PolicyLane(make(), robot), GREETING | names, config.host, config.port)


def _refuse_unused(config: ServePolicy) -> None:
    """ValueError for options of a SavedModel that are given for another policy."""
    if (expanded(config.policy) / "saved_model.pb").is_file():
        return
    usual = ServePolicy("random")
    for name in ("embeddings", "gripper_dead_zone"):
        if getattr(config, name) != getattr(usual, name):
            raise ValueError(
                f"--{name.replace('_', '-')} is for RT-1's SavedModel, and {config.policy!r} is none; leave it out"
            )


def _maker(config: ServePolicy, robot: Robot | None) -> Callable[[], Policy]:
    if config.policy == "random":
        from real2sim.policies.random_policy import RandomPolicy

        assert robot is not None
        return lambda: RandomPolicy(robot)
    if is_python(config.policy):
        assert robot is not None
        return _python_maker(config, robot)
    folder = expanded(config.policy)
    if not config.policy or not folder.is_dir():
        raise FileNotFoundError(
            f"{config.policy!r} is no policy that can be served; expected the folder of one, module.py:Class or random"
        )
    if (folder / "saved_model.pb").is_file():
        from real2sim.policies.rt1.saved_model import SavedModelRT1

        published = SavedModelRT1(folder, config.embeddings, config.gripper_dead_zone)
        # A copy has episodes of its own; the graph is shared.
        return lambda: copy.copy(published)
    from real2sim.policies.trained import load_policy

    loaded = load_policy(folder, config.device)
    # A copy has episodes of its own; the network is shared.
    return lambda: copy.copy(loaded)


def _python_maker(config: ServePolicy, robot: Robot) -> Callable[[], Policy]:
    def make() -> Policy:
        return policy_at(config.policy, robot, f"suite {config.suite!r}", config.device)

    # One that cannot be made is found before anybody connects; the first connection takes it.
    ready = [make()]

    def take() -> Policy:
        try:
            return ready.pop()
        except IndexError:
            return make()

    return take
