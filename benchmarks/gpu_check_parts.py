"""The parts of benchmarks/gpu_check.py: each gives what is written as JSON; ``line`` sums it up, ``failed`` says what
is wrong."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_options import Options, allow_tf32
from benchmarks.gpu_rollouts import parity, speed, whole


def trainings(options: Options) -> dict[str, Any]:
    """Every training at toy size: first loss on both devices, and steps per second with the training loop."""
    import torch

    from real2sim.training.loop import run_training
    from tests.training.small_trainings import OPTIMISATION, STEPS, TRAININGS

    allow_tf32(False)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in TRAININGS.items():
            row: dict[str, Any] = {"training": name}
            try:
                for number, device in enumerate(("cpu", options.device)):
                    place = Path(folder) / f"{len(rows)}-{number}"
                    place.mkdir()
                    task = make(place)
                    task.model.to(device)
                    torch.manual_seed(0)
                    row[device] = float(task.loss(task.trained, 0, np.random.default_rng(0))["loss"].detach())
                where = "cuda" if options.cuda else "cpu"
                began = time.perf_counter()
                run_training(task, replace(OPTIMISATION, device=where), Path(folder) / f"run-{len(rows)}")  # type: ignore[arg-type]
                row["steps_per_s"] = round(STEPS / (time.perf_counter() - began), 1)
                here, there = row["cpu"], row[options.device]
                row["same"] = bool(abs(here - there) <= 1e-4 * max(1.0, abs(here)))
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}"[:500]
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    bad = [row["training"] for row in rows if not row.get("same")]
    line = f"{len(rows) - len(bad)} of {len(rows)} trainings begin with the processor's loss"
    return {"rows": rows, "line": line, "failed": f"not so: {bad}" if bad else None}


def full(options: Options) -> dict[str, Any]:
    """The full-size released model: measured beside counted cost."""
    import torch

    from benchmarks.expected_cost import Peaks, cost_table, counted_parts, frame_cost, settings
    from benchmarks.full_size import random_model, seconds_per_frame
    from real2sim.vid2world.released.config import Vid2WorldConfig

    config = Vid2WorldConfig.tiny() if options.quick else Vid2WorldConfig()
    parts = counted_parts(config)
    chosen = settings((2,) if options.quick else (2, 10))
    costs = [frame_cost(config, parts, sampler, Peaks()) for sampler in chosen]
    model = random_model(config, torch.bfloat16, options.device)
    measured: list[float | None] = []
    for cost in costs:
        measured.append(seconds_per_frame(model, cost.sampler))
        print(cost.sampler.steps, cost.sampler.guidance, cost.sampler.history, measured[-1], flush=True)
    memory = torch.cuda.max_memory_allocated() / 1e9 if options.cuda else 0.0
    table = cost_table(costs, measured)
    print(table, flush=True)
    shares = [cost.seconds / seconds for cost, seconds in zip(costs, measured, strict=True) if seconds]
    return {
        "table": table,
        "memory_GB": round(memory, 2),
        "line": f"{100 * min(shares):.0f} to {100 * max(shares):.0f} % of the peak; peak memory {memory:.1f} GB",
    }


def tests(options: Options) -> dict[str, Any]:
    """The tests that need a GPU."""
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-o", "addopts="]
    words += ["tests/training/test_devices.py", "tests/vid2world/test_rollout_devices.py", "--tb=short"]
    if not options.cuda:
        words.append("--collect-only")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    print(done.stdout[-6000:], done.stderr[-1000:], flush=True)
    last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
    return {
        "line": last,
        "failed": None if done.returncode == 0 else f"pytest gave {done.returncode}: {last}",
    }


PARTS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "parity": parity,
    "speed": speed,
    "whole": whole,
    "full": full,
    "trainings": trainings,
    "tests": tests,
}
"""Name of a part -> what it does."""
