"""A start that fails before its first episode leaves a folder as it found it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def undone_where_it_fails(
    folder: Path, files: Sequence[str], episodes: Sequence[str], inner: str | None = None
) -> Iterator[None]:
    """Remove what the block wrote at ``folder`` if it ends with an error before its first episode.

    ``files`` are patterns of what a start writes, removed in this order; ``episodes`` are patterns of files that keep
    everything if one of them has any content; ``inner`` is a folder that is removed where it is empty.
    """
    before = set(_found(folder, files))
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if not any(path.stat().st_size for path in _found(folder, episodes)):
                _undo(folder, files, before, inner, missing)
        raise


def _undo(
    folder: Path, files: Sequence[str], before: set[Path], inner: str | None, missing: list[Path]
) -> None:
    for path in _found(folder, files):
        if path not in before:
            path.unlink(missing_ok=True)
    if inner is not None and (folder / inner).is_dir():
        (folder / inner).rmdir()
    for path in missing:
        path.rmdir()


def _found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()]
