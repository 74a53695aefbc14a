"""Work that several processes share; each opens its source once."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 4
"""Jobs per process that are given out before their results are taken, so few results wait in memory."""
_SOURCE: list[Any] = []
"""What a worker process reads, once it is open."""
_WORKING = threading.Lock()


def write_in_processes(
    open_source: Callable[[Any], Any],
    config: Any,
    write: Callable[..., Result],
    jobs: Sequence[tuple[Any, ...]],
    processes: int | None,
) -> Iterator[Result]:
    """Results of ``write(source, *job)`` in the order of the jobs; ``open_source(config)`` is called once per process,
    and None takes one process per core."""
    count = min(processes or multiprocessing.cpu_count(), len(jobs))
    if count <= 1:
        source = open_source(config)
        for job in jobs:
            yield write(source, *job)
        return
    yield from in_processes(_write, [(open_source, config, write, job) for job in jobs], count)


def in_processes(work: Callable[[Job], Result], jobs: Sequence[Job], processes: int) -> Iterator[Result]:
    """Results of ``work(job)`` in the order of the jobs, from processes that are spawned.

    When a job raises, or the iterator is closed, the jobs that have begun are finished, so that no file is left half
    written, and no other begins.  Raises what the job raised, or ChildProcessError if a process was killed.
    """
    spawn = multiprocessing.get_context("spawn")
    waiting: deque[Future[Result]] = deque()
    with without_script():
        pool = ProcessPoolExecutor(processes, spawn, _begin)
        try:
            for job in jobs:
                waiting.append(pool.submit(_work, work, job))
                if len(waiting) >= AHEAD * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a process that was started to share the work was killed, probably because the memory ran out; what is "
                "finished is saved, run the same command again with fewer --processes"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


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


def _begin() -> None:
    # Ctrl-C reaches every process of a terminal; the first process decides what is still done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries that decode or draw are not taken down one by one at the end: some hang in that.
    atexit.register(os._exit, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Do not wait for jobs for ever when the first process was killed; the job that has begun is finished."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    with _WORKING:
        os._exit(1)


def _work(work: Callable[[Job], Result], job: Job) -> Result:
    with _WORKING:
        return work(job)


def _write(job: tuple[Callable[[Any], Any], Any, Callable[..., Result], tuple[Any, ...]]) -> Result:
    open_source, config, write, numbers = job
    if not _SOURCE:
        _SOURCE.append(open_source(config))
    return write(_SOURCE[0], *numbers)
