"""How good a judge is: counts, rates with intervals, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from real2sim.report.rates import wilson
from real2sim.success.calibration import brier_score, expected_calibration_error


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix, in episodes."""

    true_success: int
    false_success: int
    true_failure: int
    false_failure: int

    @classmethod
    def count(cls, verdicts: np.ndarray, truth: np.ndarray) -> Confusion:
        """The counts of bool verdicts (n,) against the truth (n,)."""
        verdicts, truth = np.asarray(verdicts, bool), np.asarray(truth, bool)
        if verdicts.shape != truth.shape:
            raise ValueError(
                f"got {verdicts.shape} verdicts and {truth.shape} outcomes, expected one of each"
            )
        return cls(
            true_success=int((verdicts & truth).sum()),
            false_success=int((verdicts & ~truth).sum()),
            true_failure=int((~verdicts & ~truth).sum()),
            false_failure=int((~verdicts & truth).sum()),
        )

    @property
    def episodes(self) -> int:
        """Number of judged episodes."""
        return self.true_success + self.false_success + self.true_failure + self.false_failure

    @property
    def sensitivity(self) -> float:
        """Share of the successes that were recognised; NaN without any."""
        return _share(self.true_success, self.true_success + self.false_failure)

    @property
    def specificity(self) -> float:
        """Share of the failures that were recognised; NaN without any."""
        return _share(self.true_failure, self.true_failure + self.false_success)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity; NaN where one kind of episode is missing."""
        return (self.sensitivity + self.specificity) / 2

    @property
    def accuracy(self) -> float:
        """Share of right verdicts."""
        return _share(self.true_success + self.true_failure, self.episodes)

    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % Wilson intervals of sensitivity, specificity and accuracy."""
        return {
            "sensitivity": _interval(self.true_success, self.true_success + self.false_failure),
            "specificity": _interval(self.true_failure, self.true_failure + self.false_success),
            "accuracy": _interval(self.true_success + self.true_failure, self.episodes),
        }


@dataclass(frozen=True)
class JudgeQuality:
    """Quality of a judge compared with the truth."""

    confusion: Confusion
    calibration_error: float
    """Expected calibration error with ten intervals of equal width."""
    brier: float
    """Mean squared error of the probability."""
    joint_error: float | None = None
    """Mean absolute error of the estimated joint position in metres, where it is known."""

    @classmethod
    def measure(
        cls, probabilities: np.ndarray, truth: np.ndarray, joint_errors: np.ndarray | None = None
    ) -> JudgeQuality:
        """Quality of probabilities (n,), of which NaN means no verdict, against the truth (n,)."""
        probabilities, truth = np.asarray(probabilities, np.float64), np.asarray(truth, bool)
        decided = ~np.isnan(probabilities)
        if not decided.any():
            raise ValueError("there is no verdict to measure; does the judge know these episodes?")
        probabilities, truth = probabilities[decided], truth[decided]
        joint_error = None
        if joint_errors is not None and np.isfinite(joint_errors).any():
            joint_error = float(np.nanmean(np.abs(joint_errors)))
        return cls(
            confusion=Confusion.count(probabilities >= 0.5, truth),
            calibration_error=expected_calibration_error(probabilities, truth),
            brier=brier_score(probabilities, truth),
            joint_error=joint_error,
        )

    def facts(self) -> dict[str, Any]:
        """JSON-ready numbers; each share with its 95 % interval and the count behind it."""
        counts = self.confusion
        facts: dict[str, Any] = {
            "episodes": counts.episodes,
            "true_success": counts.true_success,
            "false_success": counts.false_success,
            "true_failure": counts.true_failure,
            "false_failure": counts.false_failure,
            "balanced_accuracy": _number(counts.balanced_accuracy),
        }
        for name, (low, high) in counts.intervals().items():
            facts[name] = _number(getattr(counts, name))
            facts[f"{name}_interval"] = [_number(low), _number(high)]
        facts["expected_calibration_error"] = _number(self.calibration_error)
        facts["brier"] = _number(self.brier)
        if self.joint_error is not None:
            facts["joint_error_mm"] = round(1000 * self.joint_error, 2)
        return facts


def _interval(count: int, total: int) -> tuple[float, float]:
    """95 % Wilson interval of a share; the whole range where there is nothing to share."""
    if total == 0:
        return 0.0, 1.0
    low, high = wilson(np.array(count), np.array(total))
    return float(low), float(high)


def _share(count: int, total: int) -> float:
    return count / total if total else float("nan")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
