"""One writer per run folder or file: locks that the system lets go when their owner dies."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from real2sim.files import writing

LOCK_FILE = ".lock"
PATIENCE = 2.0
"""Seconds to wait for another owner."""


@contextmanager
def folder_lock(folder: Path, shared_by: int = 1) -> Iterator[None]:
    """Be the only rollout that writes into ``folder``, or one of the ``shared_by`` processes of one launcher.

    Raises ValueError that names the process and machine of another one.
    """
    path = folder / LOCK_FILE
    while True:
        with writing(path):
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b", buffering=0)
        with file:
            _take(file, folder, shared_by)
            # A start that failed may have removed the file while this process waited for it.
            if _is_at(file, path):
                yield
                return


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Be the only process that changes ``path``, for a moment; the lock is a hidden file beside it.

    Raises ValueError when another process does not let go.
    """
    lock, end = path.with_name(f".{path.name}.lock"), time.monotonic() + 5 * PATIENCE
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+b", buffering=0)
    with file:
        while not try_lock(file):
            if time.monotonic() > end:
                raise ValueError(f"{path} is being changed by another process; wait until it ends or stop it")
            time.sleep(0.01)
        yield


def try_lock(file: IO[bytes], shared: bool = False) -> bool:
    """Lock an open file, if no other process holds it; True on systems without such locks."""
    try:
        import fcntl
    except ImportError:
        # Windows has no such lock; there it is up to the user not to start a rollout twice.
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(file: IO[bytes], folder: Path, shared_by: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        # Whoever comes first writes down who it is; then it lets the other processes of its launcher in.
        if try_lock(file):
            _write_owner(file, shared_by)
            if shared_by == 1 or try_lock(file, shared=True):
                return
        elif shared_by > 1 and try_lock(file, shared=True):
            if _owner(file).get("processes") == shared_by:
                return
            _unlock(file)
        if time.monotonic() > end:
            raise ValueError(
                f"{folder} is being written by {_described(_owner(file))}; wait until it ends or stop it, "
                "or choose another run folder"
            )
        time.sleep(0.05)


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _unlock(file: IO[bytes]) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)


def _write_owner(file: IO[bytes], shared_by: int) -> None:
    owner = {"process": os.getpid(), "host": socket.gethostname(), "processes": shared_by}
    file.truncate(0)
    file.write(json.dumps(owner).encode())


def _owner(file: IO[bytes]) -> dict[str, Any]:
    file.seek(0)
    try:
        found = json.loads(file.read() or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _described(owner: dict[str, Any]) -> str:
    if "process" not in owner:
        return "another process"
    shared = (
        f", started by a launcher as one of {owner['processes']}" if owner.get("processes", 1) != 1 else ""
    )
    return f"process {owner['process']} on {owner.get('host', 'this machine')}{shared}"
