"""What a policy server answers: a chunk of actions, or a sentence that says what it is instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from real2sim.policies.servers.policy_wire import names_of


def check_chunk(answered: Any, width: int, convention: str) -> np.ndarray:
    """Actions (m width) float32 of what a server answered, (m width) or (width,); finite numbers or a ValueError."""
    expected = (
        f"expected numbers (n, {width}) in the convention {convention!r}; docs/actions.md lists the others"
    )
    exact = np.atleast_2d(as_array(answered, "actions are", expected))
    if exact.ndim != 2 or exact.shape[1] != width or not len(exact) or exact.dtype.kind not in "fiu":
        raise ValueError(f"actions have shape {exact.shape} and type {exact.dtype}, {expected}")
    with np.errstate(over="ignore"):
        actions = exact.astype(np.float32)
    if not np.isfinite(actions).all():
        row, column = (int(place) for place in np.argwhere(~np.isfinite(actions))[0])
        fits = " that fits float32" if np.isfinite(exact[row, column]) else ""
        raise ValueError(
            f"number {column} of action {row} in the answer is {exact[row, column]}, expected a number{fits}"
        )
    return actions


def as_array(answered: Any, what: str, expected: str = "expected an array of numbers") -> np.ndarray:
    """The array that a server answered, also as lists of numbers; ValueError for anything else."""
    found = "" if isinstance(answered, np.ndarray) else _no_numbers(answered)
    try:
        array = np.asarray(answered)
    except ValueError:
        found, array = "lists of unequal lengths", np.zeros(0)
    if found:
        raise ValueError(f"{what} {found}, {expected}")
    return array


def _no_numbers(answered: Any) -> str:
    """What an answer is that is neither an array nor lists of numbers; nothing for those."""
    if isinstance(answered, list | tuple):
        inner = next(filter(None, map(_no_numbers, answered)), "")
        return f"lists that hold {inner}" if inner and not inner.startswith("lists") else inner
    if isinstance(answered, dict):
        return f"a map with {names_of(answered)}"
    kinds = {type(None): "nothing (null)", str: "text", bytes: "bytes", bool: "truth values"}
    return kinds.get(type(answered), "")
