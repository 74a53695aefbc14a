"""A fingerprint of a policy object: its code and the values it was made with."""

from __future__ import annotations

import dis
import hashlib
import inspect
import sys
import types
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.policies.python_source import INSTALLED

DEEPEST = 30

_acted: dict[int, tuple[Any, str, str]] = {}
"""By id: the object (weakly), its fingerprint before it acted, and its contents' hash afterwards."""


def object_fingerprint(policy: Any) -> str:
    """Changes when a policy's code or the values that it holds do.

    Its code is that of its class and of the functions, classes and values that this uses, except for those of
    installed packages; of objects of installed packages only arrays, tensors and networks are looked into.  A policy
    may say itself what it is with a string ``fingerprint``.  Acting changes what a policy holds: see `has_acted`.
    """
    own = getattr(policy, "fingerprint", None)
    if isinstance(own, str):
        return own
    contents = _contents(policy)
    found, before, after = _acted.get(id(policy), (lambda: None, "", ""))
    return before if found() is policy and after == contents else contents


def has_acted(policy: Any, fingerprint: str) -> None:
    """Remember that a policy is still the one of ``fingerprint``, whatever it has come to hold by acting."""
    try:
        _acted[id(policy)] = (weakref.ref(policy), fingerprint, _contents(policy))
    except TypeError:
        # Objects with slots cannot be referred to weakly.
        return


def _contents(policy: Any) -> str:
    walk = _Walk()
    walk.value(policy, 0)
    return walk.digest.hexdigest()[:16]


class _Walk:
    """Adds values to a hash, each object once."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._seen: dict[int, Any] = {}

    def add(self, *words: object) -> None:
        for word in words:
            content = word if isinstance(word, bytes) else str(word).encode()
            self.digest.update(len(content).to_bytes(8, "big") + content)

    def value(self, value: Any, depth: int) -> None:
        kind = type(value)
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | Path | np.generic):
            self.add(kind.__qualname__, repr(value))
            return
        if depth > DEEPEST or id(value) in self._seen:
            self.add("again", kind.__qualname__)
            return
        self._seen[id(value)] = value
        if isinstance(value, np.ndarray):
            self.add("array", value.dtype, value.shape)
            self.add(repr(value.tolist()) if value.dtype.hasobject else np.ascontiguousarray(value).tobytes())
        elif _is_tensor(value):
            self.value(value.detach().cpu().float().numpy(), depth + 1)
        elif isinstance(value, Mapping):
            self.add("mapping", len(value))
            for key, item in value.items():
                self.value(key, depth + 1)
                self.value(item, depth + 1)
        elif isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            self.add(kind.__qualname__, len(value))
            for item in items:
                self.value(item, depth + 1)
        else:
            self._object(value, depth)

    def _object(self, value: Any, depth: int) -> None:
        if isinstance(value, types.MethodType):
            self.value(value.__func__, depth + 1)
            self.value(value.__self__, depth + 1)
        elif isinstance(value, types.FunctionType):
            self._function(value, depth)
        elif isinstance(value, type):
            self._class(value, depth)
        elif isinstance(value, types.ModuleType):
            self.add("module", value.__name__)
        else:
            self.add(getattr(value, "__qualname__", ""))
            self._class(type(value), depth)
            if _is_network(value):
                self.value(dict(value.state_dict()), depth + 1)
            elif not _installed(type(value)) or type(value).__module__.startswith("real2sim."):
                self.value(dict(getattr(value, "__dict__", {})), depth + 1)

    def _class(self, value: type, depth: int) -> None:
        self.add("class", value.__qualname__)
        if _installed(value):
            return
        for base in value.__bases__:
            self._class(base, depth + 1)
        for name, item in sorted(vars(value).items()):
            if isinstance(item, staticmethod | classmethod):
                item = item.__func__
            if isinstance(item, property):
                item = item.fget
            if not name.startswith("__") or isinstance(item, types.FunctionType):
                self.add(name)
                self.value(item, depth + 1)

    def _function(self, value: types.FunctionType, depth: int) -> None:
        self.add("function", value.__qualname__)
        if _installed(value):
            return
        self.add(*_words(value))
        self.value(value.__defaults__, depth + 1)
        self.value(value.__kwdefaults__, depth + 1)
        self.value([_cell(cell) for cell in value.__closure__ or ()], depth + 1)
        used = {
            name: value.__globals__[name] for name in _globals(value.__code__) if name in value.__globals__
        }
        self.value(used, depth + 1)


def _words(function: types.FunctionType) -> list[object]:
    """The source of a function, or, of a lambda, whose line may hold other things, and without source, its code."""
    if function.__name__ != "<lambda>":
        try:
            return [inspect.getsource(function)]
        except (OSError, TypeError):
            pass
    return _compiled(function.__code__)


def _compiled(code: types.CodeType) -> list[object]:
    words: list[object] = [code.co_code, code.co_names]
    for constant in code.co_consts:
        words += _compiled(constant) if isinstance(constant, types.CodeType) else [repr(constant)]
    return words


def _globals(code: types.CodeType) -> list[str]:
    """Names of the global values that a function uses, those of functions inside it too."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= set(_globals(constant))
    return sorted(names)


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # A variable that has no value yet.
        return None


def _installed(thing: Any) -> bool:
    """Whether a class or function comes with Python, an installed package or this one."""
    name = thing.__module__ or ""
    module = sys.modules.get(name)
    if name.split(".")[0] in ("real2sim", "builtins"):
        return True
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return module is not None and module.__name__ != "__main__"
    return str(file).startswith(INSTALLED)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_network(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
