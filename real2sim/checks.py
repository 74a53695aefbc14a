"""Numbers that people type: what they may be, in one sentence where they are something else."""

from __future__ import annotations

import math
import numbers
from typing import Any

LARGEST_SEED = 2**63 - 1


def check_whole(name: str, value: Any, low: int | None = 1, high: int | None = None) -> int:
    """The whole number ``value``; ValueError unless it is one between ``low`` and ``high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number, got {_shown(value)}")
    _check_range(name, value, low, high)
    return int(value)


def check_finite(name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """The finite number ``value``; ValueError unless it is one between ``low`` and ``high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {_shown(value)}")
    _check_range(name, value, low, high)
    return float(value)


def check_seed(name: str, value: Any) -> int:
    """The seed ``value``; ValueError unless it is a whole number from 0 to 2^63 - 1."""
    return check_whole(name, value, 0, LARGEST_SEED)


def _check_range(name: str, value: Any, low: float | None, high: float | None) -> None:
    if low is not None and value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{name} must be at most {high}, got {value}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
