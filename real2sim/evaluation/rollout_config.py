"""What a rollout is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from real2sim.evaluation.policy_sources import ALL_SHIPPED
from real2sim.vid2world.load import SamplingOverrides


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
        for name in ("starts", "lanes", "threads"):
            if getattr(self, name) != "auto" and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.memory_limit is not None and self.lanes != "auto":
            raise ValueError("a memory limit decides the number of lanes; give it with --lanes auto")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")
