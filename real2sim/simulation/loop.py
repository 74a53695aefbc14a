"""The simulation loop: policy and world take turns for a batch of episodes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from real2sim.simulation.contracts import Policy, StochasticPolicy, World
from real2sim.simulation.lanes import Lanes
from real2sim.simulation.suite import Start, Suite


@dataclass(frozen=True)
class Job:
    """One episode to run."""

    policy: str
    start: Start
    seed: int
    """Source of all noise in the episode; the same for every policy, so that differences come from the policies."""


@dataclass(frozen=True)
class Episode:
    """One finished episode."""

    job: Job
    frames: np.ndarray
    """uint8 (t+1 h w 3): the start frame, and one per step."""
    actions: np.ndarray
    """What was executed, float32 (t K n), or (t n) where K is 1: row i leads from frame i to frame i+1."""
    terminated: bool
    """The policy ended it."""
    truncated: bool
    """The horizon ended it."""
    success: bool | None
    """Whether the task was done at the end, in a world that knows."""
    frame_passes: int
    """Number of network passes over single frames."""
    seconds: float
    """Its share of the batch's wall time, seconds."""


def episode_seed(seed: int, suite: str, task: str, start: str) -> int:
    """The seed (63 bits) of an episode: it depends on the run's seed and the start, not on policy or
    batch."""
    digest = hashlib.sha256("\n".join((str(seed), suite, task, start)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def takes_seeds(policy: Policy) -> bool:
    """Whether a policy is told its episodes' seeds, so that they can be drawn again.

    One that learns this from elsewhere, such as from a server, says it by an attribute ``takes_seeds``.
    """
    told = getattr(policy, "takes_seeds", None)
    return told if isinstance(told, bool) else isinstance(policy, StochasticPolicy)


@contextmanager
def _named(policy: str) -> Iterator[None]:
    """Say which policy of several cannot go on."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError or str(error).startswith("policy "):
            raise
        raise ValueError(f"policy {policy!r}: {error}") from error


def play(world: World, policy: Policy, suite: Suite, jobs: Sequence[Job]) -> Iterator[Episode]:
    """Run a batch of episodes of one policy; each is yielded as soon as it ends."""
    seeds = [job.seed for job in jobs]
    began = time.perf_counter()
    with _named(jobs[0].policy):
        if isinstance(policy, StochasticPolicy):
            policy.seed(seeds)
        policy.reset([job.start.instruction for job in jobs])
    lanes = Lanes(world, suite, len(jobs), policy=jobs[0].policy)
    lanes.begin(range(len(jobs)), [job.start for job in jobs], seeds)
    frames = [[job.start.frame.copy()] for job in jobs]
    actions: list[list[np.ndarray]] = [[] for _ in jobs]
    seconds = np.full(len(jobs), (time.perf_counter() - began) / len(jobs))
    while lanes.running.any():
        began = time.perf_counter()
        seen = lanes.observe()
        with _named(jobs[0].policy):
            answer = policy.act(seen)
        result = lanes.step(answer)
        seconds[result.stepped] += (time.perf_counter() - began) / result.stepped.sum()
        for lane in np.flatnonzero(result.stepped).tolist():
            frames[lane].append(result.frames[lane])
            actions[lane].append(result.actions[lane])
            if result.terminated[lane] or result.truncated[lane]:
                yield Episode(
                    job=jobs[lane],
                    frames=np.stack(frames[lane]),
                    actions=suite.robot.recorded(np.stack(actions[lane])),
                    terminated=bool(result.terminated[lane]),
                    truncated=bool(result.truncated[lane]),
                    success=None if result.success is None else bool(result.success[lane]),
                    frame_passes=world.frame_passes_per_frame * len(actions[lane]),
                    seconds=float(seconds[lane]),
                )
                frames[lane], actions[lane] = [], []
