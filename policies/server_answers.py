"""What a policy server answers: a chunk of actions, or a sentence that says what it is instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from real2sim.policies.servers.policy_wire import names_of


def check_chunk(answered: Any, width: int, convention: str) -> np.ndarray:
    """Actions (m width) float32 of what a server answered, (m width) or (width,); finite numbers or a ValueError."""
    found = ""
    try:
        exact = np.atleast_2d(np.asarray(answered))
    except ValueError:
        found, exact = "are lists of unequal lengths", np.zeros(0)
    if not found and not isinstance(answered, np.ndarray):
        found = _no_numbers(answered)
    if not found and (
        exact.ndim != 2 or exact.shape[1] != width or not len(exact) or exact.dtype.kind not in "fiu"
    ):
        found = f"have shape {exact.shape} and type {exact.dtype}"
    if found:
        raise ValueError(
            f"actions {found}, expected numbers (n, {width}) in the convention {convention!r}; docs/actions.md lists "
            "the others"
        )
    with np.errstate(over="ignore"):
        actions = exact.astype(np.float32)
    if not np.isfinite(actions).all():
        row, column = (int(place) for place in np.argwhere(~np.isfinite(actions))[0])
        fits = " that fits float32" if np.isfinite(exact[row, column]) else ""
        raise ValueError(
            f"number {column} of action {row} in the answer is {exact[row, column]}, expected a number{fits}"
        )
    return actions


def _no_numbers(answered: Any) -> str:
    """What an answer is that is neither an array nor lists of numbers; nothing for those."""
    if isinstance(answered, list | tuple):
        inner = next(filter(None, map(_no_numbers, answered)), "")
        return (
            inner
            if not inner or inner.startswith("are lists")
            else inner.replace("are", "are lists that hold", 1)
        )
    if isinstance(answered, dict):
        return f"are a map with {names_of(answered)}"
    kinds = {type(None): "nothing (null)", str: "text", bytes: "bytes", bool: "truth values"}
    return f"are {kinds[type(answered)]}" if type(answered) in kinds else ""
