"""On what a rollout runs: processes of a launcher or of our own, device, threads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from real2sim.checks import check_device
from real2sim.evaluation.rollout_config import RolloutConfig


def launched_as(environment: Mapping[str, str]) -> tuple[int, int]:
    """Number of this process and of all processes that a launcher started (``RANK`` and ``WORLD_SIZE``)."""
    rank, count = _number(environment, "RANK", 0), _number(environment, "WORLD_SIZE", 1)
    if count > 1 and not environment.get("RANK"):
        raise ValueError(
            f"the environment says WORLD_SIZE={count} and no RANK, so every process would do the same; start them with "
            "a launcher such as torchrun, or unset it"
        )
    if not rank < count:
        raise ValueError(
            f"the environment says RANK={rank} and WORLD_SIZE={count}; expected a rank below the world size, "
            "unset both to run without a launcher"
        )
    return rank, count


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    """A variable that launchers set; one that is empty counts as unset."""
    text = environment.get(name) or str(default)
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(
            f"the environment variable {name} is {text[:40]!r}, expected a whole number; unset it"
        )
    return int(text)


def most_processes(config: RolloutConfig) -> int:
    """Worker processes that a rollout may use."""
    if config.processes is not None:
        return config.processes
    if config.world != "mujoco" and local_device(config.device) != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_device(name: str) -> str:
    """The device of this process; ``cuda`` is one GPU per process."""
    if check_device(name) != "cuda":
        return name
    import torch

    local = _number(os.environ, "LOCAL_RANK", launched_as(os.environ)[0])
    return f"cuda:{local % torch.cuda.device_count()}"


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep a GPU from rounding float32 numbers to 10 bits where convolutions multiply them (TF32), which torch lets it
    do: episodes are then those of the processor, but for the last bits."""
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
