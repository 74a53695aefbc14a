"""What a rollout is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from real2sim.checks import check_finite, check_seed, check_whole
from real2sim.evaluation.policy_sources import ALL_SHIPPED
from real2sim.vid2world.load import SamplingOverrides

MOST_LANES, MOST_PROCESSES = 100_000, 1024
"""No machine draws more at once; larger numbers are typing errors."""


@dataclass(frozen=True)
class RolloutConfig:
    """Roll policies out and keep every episode in a run folder."""

    out: Path
    """Run folder; one that exists is continued: episodes that are in it are not made again."""
    policies: tuple[str, ...] = (ALL_SHIPPED,)
    """Shipped names, `shipped` for all of them, folders, `random`, `replay:<controller>`, `replay:all`, or
    ws://host:port of a policy server.  `name=place` gives a folder or server another name, `family:name=place`
    also says which training run it comes from; checkpoints in one training folder share theirs anyway."""
    suite: str = "drawer"
    """Name of a shipped suite, or a suite folder."""
    tasks: tuple[str, ...] = ()
    """Tasks of the suite; none means all."""
    starts: int = 50
    """How many of each task's start frames; every policy begins from the same ones."""
    seed: int = 0
    """Seed of the run; the seed of an episode is derived from it and the start, not from the policy."""
    world: str = "world_model"
    """`world_model` for the suite's own, a folder with another world model, or `mujoco` for physics."""
    sampling: Annotated[SamplingOverrides, tyro.conf.arg(name="")] = SamplingOverrides()
    """How the world model draws, where it is not to draw as its folder says."""
    lanes: int | Literal["auto"] = 25
    """Episodes that are drawn as one batch; `auto` takes as many as fit into the memory, measured at the start."""
    memory_limit: float | None = None
    """Gigabytes that a process may use for drawing with `--lanes auto`; by default half of what is free, shared by
    the processes."""
    processes: int | None = None
    """Local worker processes; by default one per processor core, or one with a GPU.  Ignored under `accelerate
    launch`, where every launched process takes its share."""
    device: str = "cpu"
    """`cpu` or `cuda`; the small models that are shipped are made for processors."""
    threads: int = 1
    """Processor threads per process."""

    def __post_init__(self) -> None:
        check_whole("starts", self.starts)
        if self.lanes != "auto":
            check_whole("lanes", self.lanes, 1, MOST_LANES)
        check_whole("threads", self.threads, 1, MOST_PROCESSES)
        check_seed("seed", self.seed)
        if self.processes is not None:
            check_whole("processes", self.processes, 1, MOST_PROCESSES)
        if self.memory_limit is not None:
            check_finite("memory_limit", self.memory_limit, 0)
            if self.lanes != "auto":
                raise ValueError("a memory limit decides the number of lanes; give it with --lanes auto")
        if not str(self.world).strip():
            raise ValueError("world is empty; expected world_model, mujoco or a folder with a world model")
        if "\0" in str(self.out):
            raise ValueError(
                f"out is {str(self.out)!r}, which holds a NUL character; choose another run folder"
            )
