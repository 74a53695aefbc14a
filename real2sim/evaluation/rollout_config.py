"""Configuration of a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from real2sim.checks import check_finite, check_kinds, check_seed, check_whole
from real2sim.evaluation.policy_sources import ALL_SHIPPED
from real2sim.vid2world.load import SamplingOverrides

MOST_LANES, MOST_PROCESSES = 100_000, 1024
"""No machine runs more at once; larger numbers are typing errors."""


@dataclass(frozen=True)
class RolloutConfig:
    """Roll out policies and save every episode in a run folder."""

    out: Path
    """Run folder; an existing one is resumed, and finished episodes are not run again."""
    policies: tuple[str, ...] = (ALL_SHIPPED,)
    """Shipped names, `shipped` for all of them, folders, `random`, `replay:<controller>`, `replay:all`,
    `module.py:Class` for a policy in a Python file, or ws://host:port of a policy server.  `name=place` gives a folder,
    Python policy or server another name, `family:name=place` also says which training run it comes from; checkpoints
    in one training folder share theirs anyway."""
    suite: str = "drawer"
    """Name of a shipped suite, or a suite folder."""
    tasks: tuple[str, ...] = ()
    """Tasks of the suite to run; all by default."""
    starts: int | Literal["all"] = 50
    """Number of start frames per task, or `all` of them; every policy starts from the same ones."""
    skip: int = 0
    """How many of those starts to leave out, from the first."""
    shuffled: bool = False
    """Take the starts in an order drawn with the seed instead of the suite's."""
    seed: int = 0
    """Seed of the run; episode seeds are derived from it and the start, so all policies share them."""
    world: str = "world_model"
    """`world_model` for the suite's own, a folder with another world model, or `mujoco` for physics."""
    sampling: Annotated[SamplingOverrides, tyro.conf.arg(name="")] = SamplingOverrides()
    """Overrides of the world model's sampling settings."""
    lanes: int | Literal["auto"] = 25
    """Episodes that are simulated as one batch; `auto` measures how many fit into memory."""
    memory_limit: float | None = None
    """Memory limit in gigabytes for `--lanes auto`; by default half of the free memory, shared by the processes."""
    processes: int | None = None
    """Number of local worker processes; by default one per CPU core, or one with a GPU. Ignored under `accelerate
    launch`, where every launched process takes its share."""
    device: str = "cpu"
    """`cpu` or `cuda`; the small shipped models are made for CPUs."""
    threads: int = 1
    """CPU threads per process."""

    consistency: bool = True
    """Measure how far apart each policy's actions on recorded and on drawn frames are, where the suite has recorded
    episodes; the report sets policies apart that the simulator cannot judge."""

    def __post_init__(self) -> None:
        check_kinds(self)
        if len(set(self.tasks)) < len(self.tasks):
            twice = next(task for task in self.tasks if self.tasks.count(task) > 1)
            raise ValueError(f"tasks names {twice!r} twice; name each task once")
        if self.starts != "all":
            check_whole("starts", self.starts)
        if self.skip < 0 or (self.starts != "all" and self.skip >= self.starts):
            raise ValueError(
                f"skip must be at least 0 and below the number of starts ({self.starts}), got {self.skip}"
            )
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
