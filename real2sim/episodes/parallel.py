"""Episodes of a source that are written by several processes, each with the source open once."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_SOURCE: Any = None
"""What a worker process reads."""
_WRITE: Callable[..., int] | None = None


def write_in_processes(
    open_source: Callable[[Any], Any],
    config: Any,
    write: Callable[..., int],
    jobs: Sequence[tuple[Any, ...]],
    processes: int | None,
) -> Iterator[int]:
    """Results of ``write(source, *job)`` in the order in which jobs end; ``open_source(config)`` is called once per
    process, and None takes one process per core."""
    count = min(processes or multiprocessing.cpu_count(), len(jobs))
    if count <= 1:
        source = open_source(config)
        for job in jobs:
            yield write(source, *job)
        return
    context = multiprocessing.get_context("spawn")
    with without_script(), context.Pool(count, _open, (open_source, config, write)) as pool:
        yield from pool.imap_unordered(_work, jobs)


@contextmanager
def without_script() -> Iterator[None]:
    """Processes that are spawned in the block do not run the user's script again, which may lack the guard
    ``if __name__ == "__main__"``."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def end_cleanly() -> None:
    """Let a process of a pool that is ended, because another one failed, remove the file that it is writing."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())


def _open(open_source: Callable[[Any], Any], config: Any, write: Callable[..., int]) -> None:
    global _SOURCE, _WRITE
    end_cleanly()
    _SOURCE, _WRITE = open_source(config), write


def _work(job: tuple[Any, ...]) -> int:
    assert _WRITE is not None
    return _WRITE(_SOURCE, *job)
