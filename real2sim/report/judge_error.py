"""The judge's own mistakes: confusion matrix, and rates corrected for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from real2sim.report.outcomes import read_outcome
from real2sim.report.rates import wilson
from real2sim.report.tables import require

ALL_TASKS = "all tasks"
FEWEST_LABELS = 5
"""Fewest labelled successes, and failures, with which rates are corrected."""


@dataclass(frozen=True)
class JudgeError:
    """Counts of a judge against labels, with the rates that follow and their 95 % Wilson intervals."""

    name: str
    task: str
    true_success: int
    false_failure: int
    false_success: int
    true_failure: int

    @property
    def positives(self) -> int:
        return self.true_success + self.false_failure

    @property
    def negatives(self) -> int:
        return self.true_failure + self.false_success

    @property
    def sensitivity(self) -> float:
        """Share of labelled successes that the judge calls success."""
        return self.true_success / self.positives if self.positives else math.nan

    @property
    def specificity(self) -> float:
        """Share of labelled failures that the judge calls failure."""
        return self.true_failure / self.negatives if self.negatives else math.nan

    @property
    def balanced_accuracy(self) -> float:
        return (self.sensitivity + self.specificity) / 2

    def as_row(self) -> dict[str, float | str | int]:
        """One row with counts, rates and intervals."""
        se_low, se_high = (float(v) for v in wilson(np.array(self.true_success), np.array(self.positives)))
        sp_low, sp_high = (float(v) for v in wilson(np.array(self.true_failure), np.array(self.negatives)))
        ba_low, ba_high = balanced_accuracy_interval(self)
        return {
            "labels": self.name,
            "task": self.task,
            "episodes": self.positives + self.negatives,
            "true_success": self.true_success,
            "false_failure": self.false_failure,
            "false_success": self.false_success,
            "true_failure": self.true_failure,
            "sensitivity": self.sensitivity,
            "sensitivity_low": se_low,
            "sensitivity_high": se_high,
            "specificity": self.specificity,
            "specificity_low": sp_low,
            "specificity_high": sp_high,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_low": ba_low,
            "balanced_accuracy_high": ba_high,
        }


def balanced_accuracy_interval(error: JudgeError) -> tuple[float, float]:
    """Interval of (sensitivity + specificity) / 2: Wilson half-widths of both added as squares (MOVER).

    Zou & Donner (2008).
    """
    if not error.positives or not error.negatives:
        return math.nan, math.nan
    se_low, se_high = wilson(np.array(error.true_success), np.array(error.positives))
    sp_low, sp_high = wilson(np.array(error.true_failure), np.array(error.negatives))
    se, sp = error.sensitivity, error.specificity
    middle = (se + sp) / 2
    low = middle - math.hypot(se - float(se_low), sp - float(sp_low)) / 2
    high = middle + math.hypot(float(se_high) - se, float(sp_high) - sp) / 2
    return low, high


def judge_errors(name: str, labels: pd.DataFrame) -> list[JudgeError]:
    """Confusion of a judge over labelled episodes (``label``, ``success``; optional ``task``): pooled, then
    per task.

    Raises:
        ValueError: if a column is missing or holds something else than true and false.
    """
    require(labels, ("label", "success"), f"the labelled episodes “{name}”")
    frame = labels.copy()
    for column in ("label", "success"):
        frame[column] = read_outcome(frame[column], f"labelled episodes “{name}”, {column}")
    frame = frame[frame["label"].notna() & frame["success"].notna()]

    def count(part: pd.DataFrame, task: str) -> JudgeError:
        truth, said = part["label"].to_numpy() == 1, part["success"].to_numpy() == 1
        cells = (truth & said, truth & ~said, ~truth & said, ~truth & ~said)
        return JudgeError(name, task, *(int(cell.sum()) for cell in cells))

    errors = [count(frame, ALL_TASKS)]
    if "task" in frame and frame["task"].nunique() > 1:
        errors += [count(part, str(task)) for task, part in frame.groupby("task", sort=True)]
    return errors


def rogan_gladen(
    successes: np.ndarray, episodes: np.ndarray, error: JudgeError, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True success rate behind the judged one, with its interval: (rate, low, high), each clipped to [0, 1].

    rate = (judged + specificity - 1) / (sensitivity + specificity - 1), Rogan & Gladen (1978).  The interval
    is that of Lang & Reiczigel (2014): pseudo-counts on all three rates and a shift of the centre; it holds
    its level where the delta method does not (near 0 and 1, few labels).

    Raises:
        ValueError: if the judge is no better than chance, so that no correction exists.
    """
    se, sp = error.sensitivity, error.specificity
    if not se + sp > 1:
        raise ValueError(
            f"the judge's sensitivity {se:.2f} and specificity {sp:.2f} sum to no more than 1: it is no "
            f"better than "
            "chance and its rates cannot be corrected"
        )
    k, n = np.asarray(successes, float), np.asarray(episodes, float)
    n = np.where(n > 0, n, np.nan)
    rate = (k / n + sp - 1) / (se + sp - 1)
    z = stats.norm.ppf(0.5 + level / 2)
    n_star, q = n + z**2, (k + z**2 / 2) / (n + z**2)
    n_se, n_sp = error.positives + 2, error.negatives + 2
    se_star, sp_star = (error.true_success + 1) / n_se, (error.true_failure + 1) / n_sp
    youden = se_star + sp_star - 1
    p = (q + sp_star - 1) / youden
    v_se, v_sp = se_star * (1 - se_star) / n_se, sp_star * (1 - sp_star) / n_sp
    shift = 2 * z**2 * (p * v_se - (1 - p) * v_sp)
    error_of_p = np.sqrt(q * (1 - q) / n_star + p**2 * v_se + (1 - p) ** 2 * v_sp) / abs(youden)
    low, high = p + shift - z * error_of_p, p + shift + z * error_of_p
    rate = np.clip(rate, 0, 1)
    return rate, np.minimum(np.clip(low, 0, 1), rate), np.maximum(np.clip(high, 0, 1), rate)


def measured_judge(errors: Sequence[JudgeError]) -> JudgeError | None:
    """The last set of labels, over all tasks, if it holds enough successes and failures to say anything."""
    pooled = [error for error in errors if error.task == ALL_TASKS]
    enough = pooled and min(pooled[-1].positives, pooled[-1].negatives) >= FEWEST_LABELS
    return pooled[-1] if enough else None


def why_uncorrected(error: JudgeError) -> str:
    """Why rates cannot be corrected by these labels, or an empty string."""
    if min(error.positives, error.negatives) < FEWEST_LABELS:
        return (
            f"Rates are not corrected for the judge's errors: “{error.name}” holds {error.positives} "
            f"labelled "
            f"successes and {error.negatives} failures; at least {FEWEST_LABELS} of each are needed."
        )
    if error.sensitivity + error.specificity <= 1:
        return f"On “{error.name}” the judge is no better than chance: believe none of its rates."
    return ""


def corrected_rates(rows: pd.DataFrame, error: JudgeError) -> pd.DataFrame:
    """Judged rates of comparison rows with ``corrected_rate``, ``corrected_low``, ``corrected_high``."""
    worth = rows["sim_effective" if "sim_effective" in rows else "sim_episodes"].to_numpy(float)
    rate, low, high = rogan_gladen(rows["sim_rate"].to_numpy(float) * worth, worth, error)
    kept = rows[["set", "policy", "task", "sim_successes", "sim_episodes", "sim_rate"]].copy()
    return kept.assign(corrected_rate=rate, corrected_low=low, corrected_high=high)


def rank_changes(corrected: pd.DataFrame) -> list[str]:
    """Sentences on pairs of policies whose order the correction changes, within each set and task.

    One correction for all policies of a task keeps their order except where clipping at 0 or 1 makes them
    equal; with corrections per task the order of averages over tasks can turn.
    """
    found: list[str] = []
    for (name, task), group in corrected.groupby(["set", "task"], sort=False):
        found += _turned(
            group["policy"].to_numpy(), group["sim_rate"], group["corrected_rate"], f"{name}, {task}"
        )
    for name, group in corrected.groupby("set", sort=False):
        mean = group.groupby("policy", sort=False)[["sim_rate", "corrected_rate"]].mean()
        found += _turned(
            mean.index.to_numpy(), mean["sim_rate"], mean["corrected_rate"], f"{name}, mean over tasks"
        )
    return found


def _turned(policies: np.ndarray, judged: pd.Series, corrected: pd.Series, where: str) -> list[str]:
    a, b = judged.to_numpy(float), corrected.to_numpy(float)
    before, after = np.sign(a[:, None] - a[None, :]), np.sign(np.round(b[:, None] - b[None, :], 12))
    turned = np.argwhere((before > 0) & (after <= 0))
    if len(turned) == 0:
        return []
    i, j = turned[0]
    more = f" and {len(turned) - 1} more pairs" if len(turned) > 1 else ""
    kind = "is behind" if after[i, j] < 0 else "is level with"
    return [f"{where}: after correction {policies[i]} {kind} {policies[j]}, which it was ahead of{more}."]
