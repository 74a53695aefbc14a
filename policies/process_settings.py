"""What a Python policy changes in its process is put back after each call, since the world model lives there too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put back torch's default type, threads and recording of gradients, NumPy's treatment of rounding errors and the
    working directory where the block changed them."""
    torch = sys.modules.get("torch")
    errors = np.geterr()
    folder = None
    with suppress(FileNotFoundError):
        folder = os.getcwd()
    if torch is not None:
        kind, threads, gradients = (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
        )
    try:
        yield
    finally:
        np.seterr(**errors)
        if folder is not None and _elsewhere(folder):
            os.chdir(folder)
        if torch is not None:
            if torch.get_default_dtype() != kind:
                torch.set_default_dtype(kind)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            if torch.is_grad_enabled() != gradients:
                torch.set_grad_enabled(gradients)


def _elsewhere(folder: str) -> bool:
    try:
        return os.getcwd() != folder
    except FileNotFoundError:
        return True
