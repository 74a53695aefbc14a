"""Policies in Python files: ``module.py:Class`` becomes something that acts, and its mistakes become one sentence."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from real2sim.checks import expanded
from real2sim.failures import out_of_memory
from real2sim.policies.policy import Observation, Policy, Requirements, StochasticPolicy
from real2sim.policies.process_settings import settings_kept
from real2sim.policies.python_source import blame, import_source, local_modules, source_fingerprint
from real2sim.robot import Robot
from real2sim.wording import did_you_mean

WRITTEN = re.compile(r"(?P<path>.+\.py)(:(?P<name>.*))?")
METHODS = ("reset", "act")
OFFERED = ("robot", "device")
"""Arguments that a constructor is given if it asks for them by name."""
_settings: dict[Path, tuple[ModuleType, dict[str, Any]]] = {}
"""The module of each file, and what it changed in its process when it was imported."""


@dataclass(frozen=True)
class PythonSource:
    """A class, or a function that gives a policy, in a Python file."""

    path: Path
    name: str
    target: Callable[..., Any]
    files: tuple[Path, ...]
    """Files that belong to it beside the source: its attribute ``files``, names relative to its folder."""

    @property
    def fingerprint(self) -> str:
        """Changes with the file, the modules beside it that it imports, and its ``files``."""
        return source_fingerprint(self.path, self.files)

    @property
    def requires(self) -> Requirements | None:
        """What it needs of the robot, where the class says so."""
        with _looked_at(self.name, self.path):
            needs = getattr(self.target, "requires", None)
            return needs if isinstance(needs, Requirements) else None

    def make(self, robot: Robot, device: str, policy: str) -> GuardedPolicy:
        """A policy object; ``policy`` is what messages call it.

        Raises:
            ValueError: with file and line, if making it fails or gives something that is no policy.
        """
        sources = list(local_modules(self.path).values())
        offered = {"robot": robot, "device": device}
        with _looked_at(self.name, self.path):
            wanted = {name: value for name, value in offered.items() if name in _parameters(self.target)}
        settings = dict(_settings[self.path.resolve()][1])
        with _guarded(f"policy {policy!r} cannot be made", sources), settings_kept(settings):
            made = self.target(**wanted)
        with _looked_at(self.name, self.path):
            _check_methods(made, f"what {self.name!r} of {self.path} gives")
            guard = SeededGuardedPolicy if isinstance(made, StochasticPolicy) else GuardedPolicy
        return guard(made, policy, sources, settings)


class GuardedPolicy:
    """Another policy, whose exceptions become a ValueError that names the policy, the file and the line."""

    def __init__(
        self,
        policy: Policy,
        name: str,
        sources: Sequence[Path] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.policy: Any = policy
        self._name, self._sources = name, sources
        self._settings = {} if settings is None else settings
        """What the policy changed in its process, torch's default type perhaps; it holds whenever it is called."""

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin new episodes."""
        with self._guard("reset"):
            self.policy.reset(instructions)

    def act(self, observation: Observation) -> np.ndarray:
        """Whatever the policy answers."""
        with self._guard("act"):
            answer: np.ndarray = self.policy.act(observation)
        return answer

    @contextmanager
    def _guard(self, method: str) -> Iterator[None]:
        with (
            _guarded(f"policy {self._name!r} failed in {method}", self._sources),
            settings_kept(self._settings),
        ):
            yield


class SeededGuardedPolicy(GuardedPolicy):
    """One that takes seeds."""

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that begin next."""
        with self._guard("seed"):
            self.policy.seed(seeds)


def is_python(place: str) -> bool:
    """Whether a place is written as ``module.py:Class``."""
    return WRITTEN.fullmatch(place) is not None


def python_file(place: str) -> Path | None:
    """The file of a place that is written as ``module.py:Class``, whether or not it is there; None for others."""
    written = WRITTEN.fullmatch(place)
    return None if written is None else Path(written["path"])


def find_python(place: str) -> PythonSource:
    """The class or function that ``module.py:Class`` stands for; the file is imported.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if importing fails, or there is nothing in it that gives a policy.
    """
    written = WRITTEN.fullmatch(place)
    assert written is not None
    path = expanded(written["path"])
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; expected a Python file, as in module.py:Class")
    changed: dict[str, Any] = {}
    with settings_kept(changed):
        module = import_source(path)
    known = _settings.get(path.resolve())
    if known is None or known[0] is not module:
        # It was imported now, and not before.
        _settings[path.resolve()] = module, changed
    name = written["name"]
    with _looked_at(name, path):
        target = _policy_of(module, name, place, path)
        return PythonSource(path, name, target, _files(target, name, path))


def _policy_of(module: ModuleType, name: str, place: str, path: Path) -> Callable[..., Any]:
    """The class or function ``name`` of a module, once it can be one of a policy."""
    found = _policies_in(module)
    listed = f"it has {', '.join(found)}" if found else "it has no class with reset and act"
    if not name:
        raise ValueError(f"{place!r} names no policy in the file; write {path.name}:Class, {listed}")
    if not hasattr(module, name):
        raise ValueError(f"{path} has no {name!r}{did_you_mean(name, found)}; {listed}")
    target = getattr(module, name)
    if not callable(target):
        raise ValueError(
            f"{name!r} of {path} is of type {type(target).__name__}; expected a class with reset and act, or a "
            "function that gives a policy"
        )
    if isinstance(target, type):
        _check_methods(target, f"class {name!r} of {path}")
    _check_arguments(target, name, path)
    made: Callable[..., Any] = target
    return made


def _policies_in(module: ModuleType) -> list[str]:
    """Names of the module's own classes with reset and act; classes that cannot be asked are left out."""
    found = []
    for value in list(vars(module).values()):
        with suppress(Exception):
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and all(callable(getattr(value, method, None)) for method in METHODS):
                found.append(str(value.__name__))
    return found


def _check_methods(found: Any, what: str) -> None:
    missing = [method for method in METHODS if not callable(getattr(found, method, None))]
    if missing:
        kind = "" if isinstance(found, type) else f" (a {type(found).__name__})"
        raise ValueError(
            f"{what}{kind} is not a policy: it has no method {missing[0]!r}; expected reset(instructions) and "
            "act(observation)"
        )


def _parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(target).parameters)
    except (ValueError, TypeError):
        # Classes written in C may have no signature.
        return {}


def _check_arguments(target: Callable[..., Any], name: str, path: Path) -> None:
    for parameter in _parameters(target).values():
        variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not variable and parameter.default is parameter.empty and parameter.name not in OFFERED:
            raise ValueError(
                f"{name!r} of {path} needs the argument {parameter.name!r}; only {' and '.join(OFFERED)} are given, "
                "others need a default value"
            )


def _files(target: Any, name: str, path: Path) -> tuple[Path, ...]:
    named = getattr(target, "files", ())
    if not isinstance(named, tuple | list) or not all(isinstance(file, str) for file in named):
        # Something else of that name, a method perhaps.
        return ()
    files = tuple(path.parent / file for file in named)
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; {name!r} of {path} names it in its files")
    return files


@contextmanager
def _looked_at(name: str, path: Path) -> Iterator[None]:
    """What a class, its metaclass or a property does when it is asked for an attribute may fail like any call."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sources = list(local_modules(path).values())
        said = blame(error, sources)
        if isinstance(error, ValueError | OSError) and not said.startswith(
            tuple(str(file.resolve()) for file in sources)
        ):
            raise
        raise ValueError(f"{name!r} of {path} cannot be asked what it is: {said}") from error


@contextmanager
def _guarded(what: str, sources: Sequence[Path] | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if out_of_memory(error):
            raise MemoryError(f"{what}: {blame(error, sources)}") from error
        # A user's policy may raise anything, or ask Python to end; it is no bug of ours.
        raise ValueError(f"{what}: {blame(error, sources)}") from error
