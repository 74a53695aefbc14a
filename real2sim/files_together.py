"""Files that belong together, such as a page and its figures: all of them are written, or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from real2sim.files import atomic_write, writing


def write_together(files: Mapping[Path, bytes]) -> None:
    """Replace files once there is room for all of them; where there is not, nothing has changed."""
    with contextlib.ExitStack() as stack:
        for path in files:
            stack.enter_context(without_new_folders(path.parent))
        for path, content in files.items():
            file = stack.enter_context(atomic_write(path))
            with writing(path):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


@contextlib.contextmanager
def without_new_folders(folder: Path) -> Iterator[None]:
    """Remove ``folder`` and those above it after an error, where they were not there before and are empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()
        raise
