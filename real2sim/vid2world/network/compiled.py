"""Compiled passes of a network (``torch.compile``), for sampling."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """``function`` compiled on the first call with a shape; weights must not change afterwards.

    Raises ValueError if a processor's code cannot be compiled here.
    """
    options: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
    if device.type == "cpu":
        _check_compiler()
        # Several hundred short calls are made from C++ too: with one lane that is a tenth of the time.
        options["cpp_wrapper"] = True
    return torch.compile(function, options=options)


def _check_compiler() -> None:
    wanted = os.environ.get("CXX")
    names = (wanted,) if wanted else ("g++", "clang++")
    if not any(shutil.which(name) for name in names):
        raise ValueError(
            f"compiling needs a C++ compiler, and there is no {' or '.join(names)} here; install one, or draw without "
            "--compile"
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        raise ValueError(
            f"compiling needs Python's headers, and there is no {header}; install them (python3-dev), or draw without "
            "--compile"
        )
