"""Calibration of probabilities: fitting one and measuring its error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from real2sim.checks import check_finite

LARGEST = 1e6
"""Scale and offset of a calibration stay below; larger ones leave only 0 and 1."""


@dataclass(frozen=True)
class PlattScaling:
    """Probability from a raw logit: ``sigmoid(scale * logit + offset)``; temperature is 1 / scale."""

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_finite("offset", self.offset, -LARGEST, LARGEST)
        check_finite("scale", self.scale, high=LARGEST)
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, got {self.scale}; a calibration keeps the order")

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities in the shape of ``logits``."""
        result: np.ndarray = expit(self.scale * np.asarray(logits, np.float64) + self.offset)
        return result


def fit_platt(logits: np.ndarray, outcomes: np.ndarray, *, temperature_only: bool = False) -> PlattScaling:
    """The Platt scaling of least cross-entropy on held-out (n,) logits and outcomes.

    Targets are drawn in from 0 and 1 by the counts (Platt 1999, section 2.2), so that logits that
    separate the outcomes perfectly do not drive the scale to infinity.  ``temperature_only`` keeps
    the offset at 0 and with it every decision (Guo et al. 2017).  The scale stays between e^-7 and e^7:
    logits that say nothing, or the opposite of the truth, would take it to zero.
    """
    logits, outcomes = _paired(logits, outcomes)
    positives = float(outcomes.sum())
    negatives = len(outcomes) - positives
    targets = np.where(outcomes, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def cross_entropy(parameters: np.ndarray) -> float:
        scaled = np.exp(parameters[0]) * logits + (0.0 if temperature_only else parameters[1])
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    start = np.zeros(1 if temperature_only else 2)
    options = {"xatol": 1e-6, "fatol": 1e-10, "maxiter": 4000}
    bounds = [(-7.0, 7.0), (None, None)][: len(start)]
    best = minimize(cross_entropy, start, method="Nelder-Mead", bounds=bounds, options=options).x
    return PlattScaling(float(np.exp(best[0])), 0.0 if temperature_only else float(best[1]))


@dataclass(frozen=True)
class IsotonicCalibration:
    """Probability as a non-decreasing line through (logit, probability) knots, flat beyond its ends."""

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities in the shape of ``logits``."""
        return np.interp(np.asarray(logits, np.float64), self.logits, self.probabilities)


def fit_isotonic(logits: np.ndarray, outcomes: np.ndarray) -> IsotonicCalibration:
    """The non-decreasing calibration of least squares.

    It follows any shape, but needs several hundred episodes to be steadier than Platt's.
    """
    logits, outcomes = _paired(logits, outcomes)
    knots, inverse, counts = np.unique(logits, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=outcomes) / counts
    fitted = isotonic_regression(means, weights=counts).x
    return IsotonicCalibration(
        tuple(map(float, knots)), tuple(float(value) for value in np.clip(fitted, 0, 1))
    )


@dataclass(frozen=True)
class ReliabilityBin:
    """Episodes whose probability fell into one interval."""

    low: float
    high: float
    episodes: int
    mean_probability: float
    success_rate: float


def reliability(
    probabilities: np.ndarray, outcomes: np.ndarray, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Mean probability against the rate of success in equal intervals of probability.

    Intervals without an episode are left out.
    """
    probabilities, outcomes = _probabilities(probabilities, outcomes)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    return tuple(
        ReliabilityBin(
            low=number / bins,
            high=(number + 1) / bins,
            episodes=int(inside.sum()),
            mean_probability=float(probabilities[inside].mean()),
            success_rate=float(outcomes[inside].mean()),
        )
        for number in range(bins)
        if (inside := index == number).any()
    )


def expected_calibration_error(probabilities: np.ndarray, outcomes: np.ndarray, bins: int = 10) -> float:
    """Mean distance between probability and rate of success, weighted by episodes (Naeini et al. 2015)."""
    table = reliability(probabilities, outcomes, bins)
    total = sum(row.episodes for row in table)
    return sum(row.episodes * abs(row.mean_probability - row.success_rate) for row in table) / total


def brier_score(probabilities: np.ndarray, outcomes: np.ndarray) -> float:
    """Mean squared distance between probability and outcome; 0 is perfect, 0.25 is a constant 0.5."""
    probabilities, outcomes = _probabilities(probabilities, outcomes)
    return float(np.mean((probabilities - outcomes) ** 2))


def _paired(values: np.ndarray, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, outcomes = np.asarray(values, np.float64), np.asarray(outcomes, bool)
    if values.ndim != 1 or values.shape != outcomes.shape or not len(values):
        raise ValueError(
            f"expected as many values as outcomes, at least one, got {values.shape} and {outcomes.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("found NaN or infinity, expected finite values; leave out episodes without verdict")
    return values, outcomes


def _probabilities(probabilities: np.ndarray, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, outcomes = _paired(probabilities, outcomes)
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError(f"expected values in [0, 1], found {probabilities.min()} to {probabilities.max()}")
    return probabilities, outcomes
