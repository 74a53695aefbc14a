"""What a Python policy changes in its process holds while it is called, and not for the world model beside it."""

from __future__ import annotations

import functools
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import numpy as np

AUTOCAST = ("cpu", "cuda")
CUDNN = ("enabled", "benchmark", "deterministic", "allow_tf32")
SHARED = (
    "builtins", "sys", "os", "os.path", "io", "json", "time", "math", "random", "re", "shutil", "tempfile", "hashlib",
    "zlib", "csv", "logging", "pathlib", "numpy", "numpy.random", "torch", "torch.nn.functional",
)  # fmt: skip
"""Modules whose functions a policy may replace for itself alone."""


class _Functions:
    """The functions and classes of `SHARED` modules."""

    def __init__(self) -> None:
        self.held = {name: dict(vars(sys.modules[name])) for name in SHARED if name in sys.modules}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Functions) and not any(other._changed(self.held))

    def put_back(self) -> None:
        """Make each the one that is held; what modules have gained stays."""
        for module, name, function in list(self._changed(_Functions().held)):
            setattr(sys.modules[module], name, function)

    def _changed(self, now: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
        for module, values in self.held.items():
            found = now.get(module, {})
            for name, value in values.items():
                if found.get(name) is not value and callable(value):
                    yield module, name, value


@contextmanager
def settings_kept(own: MutableMapping[str, Any] | None = None) -> Iterator[None]:
    """Put back what the block changes: torch's default type and device, threads, recording of gradients, autocast and
    precision, NumPy's treatment of rounding errors, the working directory, filters of warnings, the streams and
    functions of `SHARED` modules.

    ``own`` are a policy's settings: they hold in the block, and keep what it changes for the next one.
    """
    ours = _read()
    if own:
        _apply(own)
    began = _read() if own is not None else ours
    try:
        with _no_silent_end():
            yield
    finally:
        found = _read()
        if own is not None:
            own.update({name: value for name, value in found.items() if not _same(value, began.get(name))})
        _apply({name: ours[name] for name in ours if not _same(found.get(name), ours[name])})


@contextmanager
def _no_silent_end() -> Iterator[None]:
    """Make ``os._exit``, which would end the command without a word and perhaps with exit code 0, raise what
    ``sys.exit`` does; other threads and processes that the block starts end as they like."""
    owner, real = (os.getpid(), threading.get_ident()), os._exit

    def end(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) == owner:
            raise SystemExit(status)
        real(status)

    os._exit = end
    try:
        yield
    finally:
        if os._exit is end:
            os._exit = real


def _read() -> dict[str, Any]:
    """The settings of this process."""
    found: dict[str, Any] = {
        "seterr": np.geterr(),
        "seterrcall": np.geterrcall(),
        "filters": list(warnings.filters),
        "recursion": sys.getrecursionlimit(),
        "stdout": sys.stdout,
        "stderr": sys.stderr,
        "functions": _Functions(),
    }
    with suppress(FileNotFoundError):
        found["folder"] = os.getcwd()
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return found
    found |= {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "mkldnn": torch.backends.mkldnn.enabled,
    }
    for kind in AUTOCAST:
        found[f"autocast {kind}"] = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    for name in CUDNN:
        # Newer versions refuse to say one of two settings that contradict each other.
        with suppress(RuntimeError):
            found[f"cudnn {name}"] = getattr(torch.backends.cudnn, name)
    return found


def _apply(settings: MutableMapping[str, Any]) -> None:
    """Set what differs."""
    torch: Any = sys.modules.get("torch")
    setters: dict[str, Callable[[Any], Any]] = {
        "seterr": lambda value: np.seterr(**value),
        "seterrcall": np.seterrcall,
        "filters": _set_filters,
        "recursion": sys.setrecursionlimit,
        "stdout": lambda value: setattr(sys, "stdout", value),
        "stderr": lambda value: setattr(sys, "stderr", value),
        "functions": _Functions.put_back,
        "folder": os.chdir,
    }
    if torch is not None:
        setters |= {
            "dtype": torch.set_default_dtype,
            # Without a default device tensors are made on the processor, and faster.
            "device": lambda value: torch.set_default_device(None if value.type == "cpu" else value),
            "threads": torch.set_num_threads,
            "gradients": torch.set_grad_enabled,
            "precision": torch.set_float32_matmul_precision,
            "deterministic": lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
            "mkldnn": lambda value: setattr(torch.backends.mkldnn, "enabled", value),
        }
        for kind in AUTOCAST:
            setters[f"autocast {kind}"] = functools.partial(_set_autocast, torch, kind)
        for name in CUDNN:
            setters[f"cudnn {name}"] = functools.partial(setattr, torch.backends.cudnn, name)
    for name, value in settings.items():
        if name in setters:
            # A folder may be gone meanwhile; a limit of recursion may be below the present depth.
            with suppress(OSError, RecursionError):
                setters[name](value)


def _same(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]


def _set_autocast(torch: Any, kind: str, enabled_and_type: tuple[bool, Any]) -> None:
    torch.set_autocast_enabled(kind, enabled_and_type[0])
    torch.set_autocast_dtype(kind, enabled_and_type[1])
