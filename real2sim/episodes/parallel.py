"""Episodes of a source that are written by several processes, each with the source open once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
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
    with context.Pool(count, initializer=_open, initargs=(open_source, config, write)) as pool:
        yield from pool.imap_unordered(_work, jobs)


def _open(open_source: Callable[[Any], Any], config: Any, write: Callable[..., int]) -> None:
    global _SOURCE, _WRITE
    _SOURCE, _WRITE = open_source(config), write


def _work(job: tuple[Any, ...]) -> int:
    assert _WRITE is not None
    return _WRITE(_SOURCE, *job)
