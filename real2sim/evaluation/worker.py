"""One worker process of a rollout; it exits when its parent does."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.failures import EXIT_ERROR, one_line
from real2sim.model_folder import config_from_dict


def _leave_with_parent() -> None:
    # os.read, unlike sys.stdin.read, holds no lock that the interpreter needs when it ends.
    while os.read(0, 1024):
        pass
    os._exit(1)


def main() -> None:
    """Run this worker's share of the rollout that its parent describes on standard input."""
    from real2sim.evaluation.run import rollout_share

    config = config_from_dict(RolloutConfig, json.loads(_read_line()))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    # Ctrl-C reaches the whole group; the starting process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        rollout_share(config)
    except (ValueError, OSError, ImportError) as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(EXIT_ERROR)


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1)
    return line


if __name__ == "__main__":
    main()
