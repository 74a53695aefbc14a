"""The contracts of a simulation: what a World, its State, a Policy and a Judge must do.

An evaluation puts these together: a policy acts on observations, a world produces the next frames, a judge
decides which episodes succeeded. n is the width of the robot's action, K the actions per frame
(`real2sim.robot.Robot`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from real2sim.checks import check_kinds
from real2sim.robot import ActionNumber, Robot
from real2sim.simulation.observation import Observation

if TYPE_CHECKING:
    from real2sim.simulation.suite import Start


class State(Protocol):
    """What a world remembers of its running episodes."""

    def select(self, indices: Sequence[int]) -> Any:
        """The state of some of its episodes only."""

    def join(self, other: Any) -> Any | None:
        """The state of its episodes, then those of the other; None if they cannot be one batch now."""


class World(Protocol):
    """Produces the next camera frame of every episode: a world model, or physics."""

    @property
    def name(self) -> str:
        """Its name in rows, e.g. ``"world_model"`` or ``"mujoco"``."""

    @property
    def frame_passes_per_frame(self) -> int:
        """Passes of the network over one frame that one new frame costs; 0 for physics."""

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> Any:
        """The state at the start frames."""

    def step(self, state: Any, actions: np.ndarray) -> tuple[np.ndarray, Any]:
        """Next canvases uint8 (b h w 3) and state, after the K actions of a frame, float32 (b K n)."""

    def robot_state(self, state: Any) -> np.ndarray | None:
        """Proprioceptive state of the robot, float32 (b m), where the world knows or predicts it; else None."""

    def outcomes(self, state: Any) -> np.ndarray | None:
        """Whether each episode's task is done, bool (b,), where the world knows; None where a judge has to
        decide."""


@runtime_checkable
class Policy(Protocol):
    """Acts on a batch of observations, one lane per episode."""

    def reset(self, instructions: Sequence[str]) -> None:
        """Forget the past; one instruction per lane."""

    def act(self, observation: Observation) -> np.ndarray:
        """Actions (lanes K n), or (lanes n) where K is 1, in the units of the robot's action numbers.

        Called once per frame with the lanes given to `reset`, in the same order.
        """


@runtime_checkable
class StochasticPolicy(Policy, Protocol):
    """A policy that draws random numbers and can be told from which seeds."""

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that the next `reset` begins.

        An episode then has the same actions whatever lane or batch it runs in.
        """


@dataclass(frozen=True)
class Requirements:
    """What a policy needs of a robot, by name; None where anything will do."""

    cameras: tuple[str, ...] = ()
    """Cameras that it looks at."""
    state: tuple[str, ...] = ()
    """State numbers that it reads, in the order in which it expects them."""
    action: tuple[ActionNumber, ...] | None = None
    """Action numbers that it answers with, in order; names and units are compared, bounds are not."""

    def __post_init__(self) -> None:
        check_kinds(self)


@runtime_checkable
class PolicyWithRequirements(Policy, Protocol):
    """A policy that says what it needs, so that a mismatch is found before a world is loaded."""

    @property
    def requires(self) -> Requirements:
        """What it needs of the robot."""


@runtime_checkable
class Judge(Protocol):
    """Decides which episodes succeeded."""

    name: str
    """Written beside every score."""

    @property
    def digest(self) -> str:
        """Changes whenever the judge might decide otherwise; scores of an older one are made again."""
        ...

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        """Probability of success (b,) of the named episodes, given as uint8 frames (t h w 3) of any lengths.

        NaN where the judge has no verdict.
        """
        ...


def check_requirements(requires: Requirements, robot: Robot, policy: str, where: str) -> None:
    """Raise a ValueError that names both sides unless ``robot`` of ``where`` has what a policy needs."""
    if not isinstance(requires, Requirements):
        raise ValueError(
            f"policy {policy!r} has requires = {' '.join(repr(requires).split())[:60]}, expected "
            "real2sim.policies.policy.Requirements; leave it out if any robot will do"
        )
    cameras = [camera.name for camera in robot.cameras]
    for name in requires.cameras:
        if name not in cameras:
            raise ValueError(
                f"policy {policy!r} looks at camera {name!r}, which {where} does not have; it has {', '.join(cameras)}"
            )
    if requires.state and (robot.state_from is None or requires.state != robot.state_names):
        has = ", ".join(robot.state_names) if robot.state_from is not None else "no state"
        raise ValueError(f"policy {policy!r} reads the state {', '.join(requires.state)}; {where} has {has}")
    if requires.action is None:
        return
    wanted = [_described(number) for number in requires.action]
    given = [_described(number) for number in robot.action]
    if len(wanted) != len(given):
        raise ValueError(
            f"policy {policy!r} answers with {len(wanted)} action numbers ({_some(wanted)}), {where} has "
            f"{len(given)} ({_some(given)})"
        )
    for place, (ours, theirs) in enumerate(zip(wanted, given, strict=True)):
        if ours != theirs:
            raise ValueError(
                f"policy {policy!r} and {where} do not fit: action number {place} is {ours} for the policy and "
                f"{theirs} there"
            )


def _described(number: ActionNumber) -> str:
    return f"{number.name} [{number.unit}]" if number.unit else number.name


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
