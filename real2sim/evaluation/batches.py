"""Which episodes a rollout consists of, what they are called, and which of them are drawn side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from real2sim.evaluation.policy_source import PolicySource
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.unchanged import episode_name
from real2sim.simulation.loop import Job, episode_seed
from real2sim.simulation.suite import Start, Suite


@dataclass(frozen=True)
class Batch:
    """Episodes of one policy and task that run side by side."""

    source: PolicySource
    jobs: tuple[Job, ...]


def plan(config: RolloutConfig, suite: Suite, sources: list[PolicySource]) -> list[Batch]:
    """All batches of a rollout, in an order that does not depend on the number of processes.

    Processes share whole batches, and one that was interrupted is drawn again as it was: floating-point sums
    depend a little on the batch, so this is what makes frames equal to the last bit.
    """
    assert isinstance(config.lanes, int)
    starts = starts_by_task(config, suite)
    batches = []
    for source in sources:
        for name, here in starts.items():
            if name not in source.tasks:
                continue
            jobs = [
                Job(
                    source.name,
                    source.lasting(start),
                    episode_seed(config.seed, suite.name, name, start.id),
                )
                for start in here
            ]
            batches += [
                Batch(source, tuple(jobs[i : i + config.lanes])) for i in range(0, len(jobs), config.lanes)
            ]
    return batches


def starts_by_task(config: RolloutConfig, suite: Suite) -> dict[str, Sequence[Start]]:
    """Starts of every task that is asked for."""
    names = config.tasks or tuple(task.name for task in suite.tasks)
    return {name: chosen_starts(suite, name, config) for name in names}


def chosen_starts(suite: Suite, task: str, config: RolloutConfig) -> list[Start]:
    """The starts of a task that a rollout is asked for, in their order."""
    count = None if config.starts == "all" else config.starts
    first = suite.starts(task, count)
    if not config.shuffled:
        return first[config.skip :]
    everything = suite.starts(task)
    seed = episode_seed(config.seed, suite.name, task, "order of starts")
    order = np.random.default_rng(seed).permutation(len(everything))
    return [everything[i] for i in order[config.skip : len(first)]]


def episode_id(job: Job, config: RolloutConfig) -> str:
    """A name for the episode that is unique in its run and can be a file name."""
    return episode_name(job.policy, job.start.task.name, job.start.id)
