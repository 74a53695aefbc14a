"""Asking a judge, which may be anyone's object, and checking what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from real2sim.simulation.action_checks import as_numbers
from real2sim.simulation.contracts import Judge


def check_judge_object(judge: Any) -> Judge:
    """The same judge; ValueError unless it is an object with a name, a digest and a method to judge."""
    if isinstance(judge, type):
        raise ValueError(
            f"judge is the class {judge.__name__}, expected an object of it; write {judge.__name__}()"
        )
    if not isinstance(judge, Judge):
        raise ValueError(
            f"judge is of type {type(judge).__name__}, expected an object with name, digest and "
            "judge(episodes, frames, instructions)"
        )
    return judge


def probabilities(
    judge: Judge, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
) -> np.ndarray:
    """What a judge says of the episodes, float64 (b,); ValueError unless each is from 0 to 1, or NaN for no verdict."""
    who = f"judge {getattr(judge, 'name', type(judge).__name__)!r}"
    answer = judge.judge(episodes, frames, instructions)
    found = as_numbers(answer, who, "probabilities")
    if found.shape != (len(episodes),) or found.dtype.kind not in "fiub":
        said = f"have shape {found.shape}" if found.dtype.kind in "fiub" else f"are of type {found.dtype}"
        if found.dtype == object and not found.ndim:
            said = f"are of type {type(answer).__name__}"
        raise ValueError(
            f"{who}: probabilities {said}, expected one number for each of {len(episodes)} episodes"
        )
    found = found.astype(np.float64)
    wrong = ~(np.isnan(found) | ((found >= 0) & (found <= 1)))
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(
            f"{who}: the probability of episode {episodes[place]!r} is {found[place]:g}, expected 0 to 1, or NaN for "
            "no verdict"
        )
    return found
