"""What is given in a list with a place for each lane, seeds above all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from real2sim.checks import check_seed


def is_list(value: Any) -> bool:
    """Whether ``value`` has places one after another: a list, a tuple, an array, but no text."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def check_seeds(seeds: Any) -> list[int]:
    """The seeds; ValueError unless they are one for each lane."""
    if not is_list(seeds):
        raise ValueError(
            f"seeds are of type {type(seeds).__name__}, expected a list with a seed for each lane"
        )
    return [check_seed(f"the seed of lane {lane}", seed) for lane, seed in enumerate(seeds)]
