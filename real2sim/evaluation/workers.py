"""Local worker processes, each running its share of a rollout's batches; they exit with their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.worker import DONE
from real2sim.failures import EXIT_ERROR
from real2sim.files import write_bytes
from real2sim.model_folder import config_to_dict


class Workers:
    """Processes that make one rollout after another; they start with the first one."""

    def __init__(self, count: int, threads: int = 1) -> None:
        self.count, self.threads = count, threads
        self._workers: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        self._finished: list[int] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def run(self, config: RolloutConfig, advance: Callable[[], None], own: bytes | None = None) -> None:
        """Make what is missing of a rollout, call ``advance`` meanwhile, and return when all have finished.

        The first one that fails stops the others; its last line becomes the error.  ``own`` are packed policy objects
        (`real2sim.evaluation.own_policies`).
        """
        try:
            request = self._request(config, own)
            while len(self._workers) < self.count:
                self._start(len(self._workers))
            wanted = [finished + 1 for finished in self._finished]
            for worker in self._workers:
                assert worker.stdin is not None
                # The pipe stays open: its end tells the worker that this process is gone.
                worker.stdin.write(request.encode())
                worker.stdin.flush()
            while any(a < b for a, b in zip(self._finished, wanted, strict=True)):
                time.sleep(0.05)
                advance()
                self._raise_failure(config.lanes)
            advance()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the processes; a later rollout starts them again."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    pipe.close()
        for log in self._logs:
            log.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._workers, self._logs, self._finished = [], [], []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, config: RolloutConfig, own: bytes | None) -> str:
        """What the processes are told, one line; policy objects lie in a folder that this user alone may read."""
        request: dict[str, object] = {"config": config_to_dict(replace(config, processes=1))}
        if own is not None:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="real2sim-")
            path = Path(self._folder.name) / "policies"
            write_bytes(path, own)
            # Modules of the policies are found as this process finds them.
            request |= {"own": str(path), "path": [str(Path(place or ".").resolve()) for place in sys.path]}
        return json.dumps(request) + "\n"

    def _start(self, rank: int) -> None:
        log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        environment = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": str(self.count),
            "OMP_NUM_THREADS": str(self.threads),
            "MKL_NUM_THREADS": str(self.threads),
            "PYTHONPATH": _python_path(),
        }
        self._logs.append(log)
        self._finished.append(0)
        worker = subprocess.Popen(
            [sys.executable, "-m", "real2sim.evaluation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
        self._workers.append(worker)
        threading.Thread(target=_count, args=(worker, self._finished, rank), daemon=True).start()

    def _raise_failure(self, lanes: object) -> None:
        for worker, log in zip(self._workers, self._logs, strict=True):
            if worker.poll() is None:
                continue
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            if worker.returncode < 0:
                raise ChildProcessError(_killed(worker, lanes))
            if not said:
                raise ChildProcessError(
                    f"worker process {worker.pid} was ended from within (code {worker.returncode}), without a word: "
                    "does a policy or its library call os._exit? Finished episodes are saved, the same command goes on"
                )
            last = said.splitlines()[-1]
            if worker.returncode == EXIT_ERROR:
                raise ValueError(last)
            raise RuntimeError(f"a worker process ended with code {worker.returncode}: {last}\n{said}")


def _count(worker: subprocess.Popen[bytes], finished: list[int], rank: int) -> None:
    """Count the rollouts that a worker says it has done."""
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.rstrip().endswith(DONE):
            finished[rank] += 1


def _python_path() -> str:
    # An uninstalled checkout is found by its workers too, wherever the notebook that uses it was started.
    root = Path(__file__).resolve().parents[2]
    own = [] if root.name in ("site-packages", "dist-packages") else [str(root)]
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])


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
