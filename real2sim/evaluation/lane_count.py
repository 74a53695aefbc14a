"""How many lanes fit into memory: measured with few lanes and extrapolated linearly."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from real2sim.simulation.contracts import World
from real2sim.simulation.suite import Suite

FEW, MORE = 1, 4
"""Numbers of lanes that are measured; each further lane needs the same memory."""
LADDER = (1, 2, 4, 8, 12, 16, 25, 32, 50, 64, 100, 128, 256)
"""Numbers to choose from. The gaps absorb measurement noise, and more lanes are hardly faster on any machine."""
MOST_ON_CPU = 64
RESERVE = 0.1
"""Fraction of the limit that stays free."""


def fitting_lanes(
    world: World, suite: Suite, device: str = "cpu", limit: float | None = None, processes: int = 1
) -> int:
    """Number of lanes of ``suite`` that one process can run in ``limit`` gigabytes, by default half of the free
    memory.

    Raises ValueError if not even one lane fits.
    """
    usable = 1e9 * limit if limit is not None else free_memory(device) / 2 / processes
    one, some = (peak_memory(partial(_episode, world, suite, lanes), device) for lanes in (FEW, MORE))
    each = max((some - one) / (MORE - FEW), 1.0)
    fits = FEW + ((1 - RESERVE) * usable - one) / each
    most = LADDER[-1] if device.startswith("cuda") else MOST_ON_CPU
    chosen = [lanes for lanes in LADDER if lanes <= min(fits, most)]
    if not chosen:
        raise ValueError(
            f"one lane needs {one / 1e9:.2f} GB and {usable / 1e9:.2f} GB are allowed; raise --memory-limit or use "
            "a smaller world model"
        )
    return chosen[-1]


def _episode(world: World, suite: Suite, lanes: int) -> None:
    """Run a whole episode in every lane, because memory grows with the history."""
    task = suite.tasks[0]
    starts = suite.starts(task.name)
    state = world.reset([starts[lane % len(starts)] for lane in range(lanes)], list(range(lanes)))
    robot = suite.robot
    still = np.zeros((lanes, robot.actions_per_frame, robot.action_width), np.float32)
    for _ in range(task.horizon):
        _, state = world.step(state, still)


def peak_memory(run: Callable[[], None], device: str) -> float:
    """Peak memory of this process in bytes while ``run`` runs, on the GPU or in main memory."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        run()
        return float(torch.cuda.max_memory_allocated(device))
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # The kernel forgets the highest value so far.
        run()
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024.0 * int(line.split()[1])
    run()
    # macOS counts in bytes and cannot forget: a limit below what loading took is not noticed.
    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def free_memory(device: str) -> float:
    """Free memory in bytes."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else ():
        if line.startswith("MemAvailable"):
            return 1024.0 * int(line.split()[1])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2
