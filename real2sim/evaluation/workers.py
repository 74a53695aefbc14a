"""Local worker processes, each running its share of a rollout's batches; they exit with their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.failures import EXIT_ERROR
from real2sim.model_folder import config_to_dict


def run_workers(config: RolloutConfig, count: int, advance: Callable[[], None]) -> None:
    """Start ``count`` processes, call ``advance`` while they work, and return when all have finished.

    The first one that fails stops the others; its last line becomes the error.
    """
    request = json.dumps(config_to_dict(replace(config, processes=1))) + "\n"
    logs: list[IO[bytes]] = []
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(count):
            log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            logs.append(log)
            environment = {
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": str(count),
                "OMP_NUM_THREADS": str(config.threads),
                "MKL_NUM_THREADS": str(config.threads),
                "PYTHONPATH": _python_path(),
            }
            worker = subprocess.Popen(
                [sys.executable, "-m", "real2sim.evaluation.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
            )
            workers.append(worker)
            assert worker.stdin is not None
            # The pipe stays open: its end tells the worker that this process is gone.
            worker.stdin.write(request.encode())
            worker.stdin.flush()
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.1)
            advance()
            _raise_failure(workers, logs, config.lanes)
        _raise_failure(workers, logs, config.lanes)
        advance()
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            if worker.stdin is not None:
                worker.stdin.close()
        for log in logs:
            log.close()


def _python_path() -> str:
    # An uninstalled checkout is found by its workers too, wherever the notebook that uses it was started.
    root = Path(__file__).resolve().parents[2]
    own = [] if root.name in ("site-packages", "dist-packages") else [str(root)]
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])


def _raise_failure(workers: list[subprocess.Popen[bytes]], logs: list[IO[bytes]], lanes: object) -> None:
    for worker, log in zip(workers, logs, strict=True):
        if worker.poll():
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            last = (said.splitlines() or ["it said nothing"])[-1]
            if worker.returncode == EXIT_ERROR:
                raise ValueError(last)
            if worker.returncode < 0:
                raise ChildProcessError(_killed(worker, lanes))
            raise RuntimeError(f"a worker process ended with code {worker.returncode}: {last}\n{said}")


def _killed(worker: subprocess.Popen[bytes], lanes: object) -> str:
    try:
        name = signal.Signals(-worker.returncode).name
    except ValueError:
        name = f"signal {-worker.returncode}"
    why = ", probably because the memory ran out" if name == "SIGKILL" else ""
    return (
        f"worker process {worker.pid} was killed ({name}){why}; finished episodes are saved, run the same command "
        f"again with fewer --processes or fewer --lanes than {lanes}"
    )
