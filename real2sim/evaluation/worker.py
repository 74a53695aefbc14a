"""One worker process of rollouts; it exits when its parent does."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path

from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.failures import EXIT_ERROR, one_line
from real2sim.freed_memory import keep_freed_memory
from real2sim.model_folder import config_from_dict

DONE = b"real2sim worker: done"
"""What a worker writes after each rollout."""


def _read_requests(requests: queue.Queue[bytes]) -> None:
    """Hand on the lines of standard input, and leave when the starting process is gone."""
    # os.read, unlike sys.stdin.read, holds no lock that the interpreter needs when it ends.
    waiting = b""
    while received := os.read(0, 65536):
        *lines, waiting = (waiting + received).split(b"\n")
        for line in lines:
            requests.put(line)
    os._exit(1)


def main() -> None:
    """Do this worker's share of the rollouts that the starting process describes, one a line."""
    keep_freed_memory()
    requests: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    # Ctrl-C reaches the whole group; the starting process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from real2sim.evaluation.own_policies import read_packed
    from real2sim.evaluation.run import rollout_share

    while True:
        request = json.loads(requests.get())
        try:
            sys.path += [place for place in request.get("path", ()) if place not in sys.path]
            own = read_packed(Path(request["own"])) if "own" in request else None
            rollout_share(config_from_dict(RolloutConfig, request["config"]), own)
        except (ValueError, OSError, ImportError) as error:
            print(one_line(error), file=sys.stderr)
            sys.exit(EXIT_ERROR)
        os.write(1, DONE + b"\n")


if __name__ == "__main__":
    main()
