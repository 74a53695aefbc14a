"""What a ranking by a race is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from real2sim.checks import check_kinds, check_whole
from real2sim.evaluation.policy_sources import ALL_SHIPPED
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.vid2world.load import SamplingOverrides

RACE = "race"
"""Name in ``run.json`` under which a run says that a race decided who runs how many episodes."""
RESULT_FILE = "ranking.json"
"""What the race found, in the run folder."""


@dataclass(frozen=True)
class RankConfig:
    """Rank policies with as few episodes as it takes: those whose order is open run on, the others stop."""

    out: Path
    """Run folder; one that exists is continued, and every episode in it counts."""
    policies: tuple[str, ...] = (ALL_SHIPPED,)
    """Policies, named as for `real2sim rollout`."""
    suite: str = "drawer"
    """Name of a shipped suite, or a suite folder."""
    tasks: tuple[str, ...] = ()
    """Tasks of the suite; none means all.  Rates are averaged over them."""
    until: Literal["ranking", "best", "groups"] = "groups"
    """`best`: which policy is the best.  `groups`: groups of which each is better than the next, as far as the starts
    are expected to tell.  `ranking`: a group for every policy, giving nothing up."""
    alpha: float = 0.05
    """Chance that anything that is called decided is wrong, over all policies and however often one looks."""
    margin: float | None = None
    """Points of success rate below which two policies need not be told apart."""
    budget: int | None = None
    """Episodes that may be made at most; by default as many as there are starts."""
    starts: int | None = None
    """Starts of each task that may be used; by default all.  Each is used once per policy."""
    first: int = 8
    """Starts of each task in the first round, which all policies run."""
    step: int = 4
    """Starts of each task in each later round."""
    judge: str | None = None
    """Model folder of the judge, or ``openai:URL#model=NAME`` as for `real2sim score`; by default the suite's.  Not
    needed where the world knows the outcomes."""
    seed: int = 0
    """Seed of the run, and of the order in which starts are used."""
    world: str = "world_model"
    """`world_model` for the suite's own, a folder with another world model, or `mujoco` for physics."""
    sampling: Annotated[SamplingOverrides, tyro.conf.arg(name="")] = SamplingOverrides()
    """How the world model draws, where it is not to draw as its folder says."""
    lanes: int = 25
    """Episodes that are drawn as one batch."""
    processes: int | None = None
    """Local worker processes; by default one per processor core, or one with a GPU.  Ignored under `accelerate
    launch`."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    threads: int = 1
    """Processor threads per process."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_whole("first", self.first)
        check_whole("step", self.step)
        for name in ("budget", "starts"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        # What a round is rolled out with is checked before the first one.
        self.rollout((), 0, 1)

    def rollout(self, policies: tuple[str, ...], begin: int, end: int) -> RolloutConfig:
        """The rollout of one round: starts ``begin`` to ``end`` of every task."""
        return RolloutConfig(
            out=self.out,
            policies=policies,
            suite=self.suite,
            tasks=self.tasks,
            starts=end,
            skip=begin,
            shuffled=True,
            seed=self.seed,
            world=self.world,
            sampling=self.sampling,
            lanes=self.lanes,
            processes=self.processes,
            device=self.device,
            threads=self.threads,
            consistency=False,
        )
