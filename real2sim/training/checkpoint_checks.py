"""Whether the content of a checkpoint is one: kinds, finite numbers, and an optimiser's state that fits its tensors."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from real2sim.checks import LARGEST_COUNT, check_finite, check_whole

ENTRIES = ("step", "seconds", "average", "unlogged", "trained", "optimiser", "extra")
LONGEST = 1e10
"""Seconds that no training takes."""
ADVICE = "delete it to start over"


def check_sums(path: Path) -> None:
    """Raise a ValueError if a part of a checkpoint does not have the checksum that was written with it.

    torch reads tensors without comparing checksums, so that a changed byte would become another weight.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as the checkpoint of a training ({error}); it may be cut off: {ADVICE}"
        ) from error
    if broken is not None:
        raise ValueError(
            f"{path} is damaged ({broken} has another checksum than when it was written); {ADVICE}"
        )


def check_state(state: Any, path: Path) -> dict[str, Any]:
    """What a checkpoint holds, once each entry is of its kind; a ValueError names file and entry."""
    if not isinstance(state, dict):
        raise ValueError(
            f"{path} holds a {type(state).__name__}, expected the checkpoint of a training; {ADVICE}"
        )
    missing = set(ENTRIES) - set(state)
    if missing:
        raise ValueError(
            f"{path} has no entry {min(missing)!r}, so no training can continue from it; {ADVICE}"
        )
    try:
        check_whole("step", state["step"], 0, LARGEST_COUNT)
        check_finite("seconds", state["seconds"], 0, LONGEST)
        for name in ("average", "trained"):
            _check_tensors(name, state[name])
        for name in ("unlogged", "extra", "optimiser"):
            _check_map(name, state[name])
        for name, values in state["unlogged"].items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"unlogged.{name} is {str(values)[:40]}, expected a list of numbers")
            for value in values:
                check_finite(f"unlogged.{name}", value)
        for name, values in state["extra"].items():
            _check_tensors(f"extra.{name}", values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {ADVICE}") from None
    found: dict[str, Any] = state
    return found


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any], path: Path) -> None:
    """Give an optimiser its state from a checkpoint; a ValueError says what does not fit the tensors it trains."""
    try:
        fresh = [dict(group) for group in optimiser.param_groups]
        optimiser.load_state_dict(dict(state))
        groups = optimiser.param_groups
        for group, like in zip(groups, fresh, strict=True):
            for name, value in like.items():
                if name != "params" and not _alike(group[name], value):
                    raise ValueError(f"{name} is {str(group[name])[:40]}")
                if name == "betas" and not all(0 <= one < 1 for one in group[name]):
                    raise ValueError(f"betas is {str(group[name])[:40]}")
        # Weights that got no gradient have no state; all others have the same.
        kinds = {tuple(sorted(held)) for held in optimiser.state.values() if held}
        if len(kinds) != 1:
            raise ValueError("it is empty" if not kinds else "weights have states of several kinds")
        for tensor in (tensor for group in groups for tensor in group["params"]):
            for name, value in optimiser.state.get(tensor, {}).items():
                if not isinstance(value, Tensor) or (value.ndim and value.shape != tensor.shape):
                    raise ValueError(f"{name} does not have the shape {tuple(tensor.shape)}")
                if not torch.isfinite(value).all():
                    raise ValueError(f"{name} holds NaN or infinity")
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RuntimeError) as error:
        raise ValueError(
            f"{path}: the optimiser cannot continue from its state ({type(error).__name__}: {error}); {ADVICE}"
        ) from error


def _alike(value: Any, like: Any) -> bool:
    """Whether a setting is of the kind of another: finite numbers, or as many of them."""
    if isinstance(like, tuple | list):
        same = isinstance(value, tuple | list) and len(value) == len(like)
        return same and all(map(_alike, value, like))
    if isinstance(like, bool) or not isinstance(like, int | float):
        return bool(value == like)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_map(name: str, values: Any) -> None:
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"{name} is of type {type(values).__name__}, expected a mapping of names")


def _check_tensors(name: str, values: Any) -> None:
    _check_map(name, values)
    for key, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}.{key} is of type {type(value).__name__}, expected a tensor")
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise ValueError(f"{name}.{key} is a tensor of another form, expected plain numbers")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{name}.{key} holds NaN or infinity")
