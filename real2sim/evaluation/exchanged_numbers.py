"""Which numbers of a policy's answers follow the recording of another number: axes in another frame or order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import t as student

SURE = 0.01
"""Chance at which a correlation, or what an order of numbers gains, is no accident (one value per moment)."""
SURE_OF_TWO = 0.05
"""The same where two numbers have to show it at once, two-sided."""
CLEARER = 0.3
"""By how much each of two correlations then has to exceed those of the numbers with their own recordings."""
SHUFFLES = 1000
"""How often the moments are shuffled to see what an order of numbers gains by chance."""


@dataclass(frozen=True)
class Exchanged:
    """Numbers in a ring: each follows the recording of the next one, the last that of the first."""

    numbers: tuple[int, ...]
    correlations: tuple[float, ...]
    """Pearson's, of each with the recording that it follows."""


def find_exchanged(answered: np.ndarray, recorded: np.ndarray) -> list[Exchanged]:
    """Which of some numbers of one unit, answered and recorded (m K p), are exchanged with each other.

    Two are found where each follows the other's recording clearly.  If none do, all correlations are taken together:
    an order of the numbers is believed if it makes the sum of their sizes larger, by more than the best order gains in
    all but ``SURE`` of the cases in which the recorded moments are shuffled.  That needs more moments, and finds
    exchanged numbers of policies that do only roughly what was recorded, and rings of three.
    """
    ours, theirs = _standardised(answered), _standardised(recorded)
    between = ours.T @ theirs
    order = _clear_pairs(between, len(ours))
    if (order == np.arange(len(order))).all():
        order = _better_order(ours, theirs)
    found = []
    for ring in _rings(order):
        values = tuple(float(between[place, order[place]]) for place in ring)
        if all(abs(value) > abs(between[place, place]) for value, place in zip(values, ring, strict=True)):
            found.append(Exchanged(ring, values))
    return found


def _standardised(values: np.ndarray) -> np.ndarray:
    """The moments' means (m p) of numbers (m K p), with mean 0 and length 1; 0 where they are constant."""
    means = values.mean(axis=1, dtype=np.float64)
    constant = np.ptp(means, axis=0) <= 1e-6 * np.maximum(1e-9, np.abs(means).max(axis=0))
    means = np.where(constant, 0.0, means - means.mean(axis=0))
    return np.asarray(means / np.where(constant, 1.0, np.linalg.norm(means, axis=0)))


def _clear_pairs(between: np.ndarray, moments: int) -> np.ndarray:
    """The order in which those pairs are exchanged that each follow the other's recording, by correlations (p p)."""
    order, own = np.arange(len(between)), np.diag(between)
    # How large a correlation is by chance in SURE_OF_TWO of the cases (Student's t).
    quantile = float(student.isf(SURE_OF_TWO / 2, moments - 2))
    least = quantile / math.sqrt(moments - 2 + quantile**2)
    for i in range(len(order)):
        for j in range(i + 1, len(order)):
            cross = min(abs(between[i, j]), abs(between[j, i]))
            alone = order[i] == i and order[j] == j
            if alone and cross > least and cross > max(own[i], own[j]) + CLEARER:
                order[i], order[j] = j, i
    return order


def _better_order(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Which recording each answered number follows, if another order than their own fits clearly better."""
    gain, order = _gain(ours.T @ theirs)
    rng, as_good = np.random.default_rng(0), 0
    for _ in range(SHUFFLES if gain > 0 else 0):
        as_good += _gain(ours.T @ rng.permutation(theirs))[0] >= gain
        if as_good >= SURE * SHUFFLES:
            break
    else:
        return order
    return np.arange(len(order))


def _gain(between: np.ndarray) -> tuple[float, np.ndarray]:
    """By how much the sizes of the correlations (p p) grow in the best order, and that order."""
    sizes = np.abs(between)
    _, order = linear_sum_assignment(-sizes)
    return float(sizes[np.arange(len(sizes)), order].sum() - np.trace(sizes)), order


def _rings(order: np.ndarray) -> list[tuple[int, ...]]:
    """Which numbers change places with each other."""
    rings: list[tuple[int, ...]] = []
    seen: set[int] = set()
    for first in range(len(order)):
        ring: list[int] = []
        at = first
        while at not in seen:
            seen.add(at)
            ring.append(at)
            at = int(order[at])
        if len(ring) > 1:
            rings.append(tuple(ring))
    return rings
