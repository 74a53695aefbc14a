"""Agreement of one set of policies: every measure together with what limits it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from real2sim.report.correlation import kendall, pearson, simpler_pearson, spearman
from real2sim.report.jackknife import (
    FEWEST_RUNS,
    FEWEST_RUNS_FOR_RANKS,
    Measured,
    cluster_t_interval,
    correlation_interval,
    kept,
    leave_one_out,
    size_interval,
)
from real2sim.report.noise_ceiling import NoiseCeiling, noise_ceiling
from real2sim.report.permutation import Permutation, permutation_test
from real2sim.report.rank_violation import mmrv, mmrv_interval
from real2sim.report.true_rates import Noise, binomial_noise, shared_part, true_correlation, true_gap
from real2sim.report.wording import plural


@dataclass(frozen=True)
class Measure:
    """A number with its 95 % interval and its range when one training run at a time is left out.

    What cannot be computed is nan, and ``unsupported`` then says why in a sentence.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    drop_low: float = math.nan
    drop_high: float = math.nan
    unsupported: str = ""


@dataclass(frozen=True)
class Agreement:
    """How simulated and real rates agree over the points (policy, task) of one set."""

    points: int
    policies: int
    families: int
    """Independent training runs: checkpoints of one run count once."""
    pearson: Measure
    pearson_true: Measure
    """Pearson's r of the true rates: what is left when the noise of few episodes is taken out."""
    spearman: Measure
    kendall: Measure
    mmrv: Measure
    mmrv_within: Measure
    """MMRV where only policies on the same task are compared; equal to ``mmrv`` for one task."""
    mae_points: Measure
    mae_true_points: Measure
    """Mean absolute gap of the true rates."""
    bias_points: Measure
    pearson_simpler: float
    mmrv_paper: float
    """``mmrv`` with the rule for ties that the paper prints (``<`` instead of ``>``)."""
    permutation: Permutation
    """Chance of agreement this good by luck; units are training runs."""
    permutation_policies: Permutation
    """The same with policies as units, as if all were independent."""
    ceiling: NoiseCeiling | None
    ceiling_finite: NoiseCeiling | None
    remarks: tuple[str, ...] = field(default=())

    @property
    def p(self) -> float:
        return self.permutation.p


NO_COUNTS = "the number of episodes is not stated on both sides, so the noise of the rates is not known"


@dataclass(frozen=True)
class Points:
    """Rates (n,) of both sides with the training run and task of each point."""

    sim: np.ndarray
    real: np.ndarray
    families: np.ndarray
    tasks: np.ndarray

    @property
    def runs(self) -> int:
        return len(set(self.families.tolist()))

    def without(self, function: Measured) -> np.ndarray:
        """``function`` with one training run left out, for each of them."""
        return leave_one_out(function, self.sim, self.real, self.families) if self.runs > 1 else np.empty(0)

    def dropped(self, values: np.ndarray | list[float]) -> tuple[float, float]:
        """Range of what a measure is with one training run left out; (nan, nan) below four runs.

        With three runs two would be left, whose correlation says nothing.
        """
        known = [float(value) for value in values if not math.isnan(value)]
        return (min(known), max(known)) if known and self.runs >= 4 else (math.nan, math.nan)

    def without_within(self) -> list[float]:
        """The same for MMRV within tasks."""
        return [mmrv(self.sim[keep], self.real[keep], self.tasks[keep]) for keep in kept(self.families)]


def _few(policies: int, sim: np.ndarray, real: np.ndarray) -> str:
    """Why no correlation exists, or an empty string."""
    if policies == 0:
        return "no policy was measured both in simulation and in reality"
    if policies == 1:
        return "one policy alone cannot show whether policies are ranked correctly"
    if np.ptp(sim) == 0:
        return "all simulated rates are equal, so no correlation exists"
    if np.ptp(real) == 0:
        return "all real rates are equal, so there is nothing to rank"
    return ""


def _square(rows: pd.DataFrame, index: str) -> tuple[np.ndarray, np.ndarray]:
    """Rates (k t) of policies or training runs, missing where a task was not measured."""
    codes, units = pd.factorize(rows[index])
    tasks, names = pd.factorize(rows["task"])
    cell = codes * len(names) + tasks
    size = len(units) * len(names)
    count = np.bincount(cell, minlength=size).astype(float)
    count[count == 0] = np.nan
    sides = [
        np.bincount(cell, rows[f"{world}_rate"].to_numpy(float), size) / count for world in ("sim", "real")
    ]
    shape = (len(units), len(names))
    return sides[0].reshape(shape), sides[1].reshape(shape)


def _violation(
    sim: np.ndarray,
    real: np.ndarray,
    counts: list[np.ndarray],
    tasks: np.ndarray | None,
    shared: float,
    dropped: tuple[float, float],
    why: str,
) -> Measure:
    """MMRV over all points, or within tasks; ``shared`` is the correlation of the noise of both worlds."""
    if why:
        return Measure(math.nan, unsupported=why)
    value = mmrv(sim, real, tasks)
    low, high = mmrv_interval((counts[0], counts[1]), (counts[2], counts[3]), tasks=tasks, shared=shared)
    if math.isnan(high):
        why = "no interval: the number of episodes is not stated on both sides"
    return Measure(value, min(low, value), max(high, value), *dropped, why)


def _needs(families: int, least: int) -> str:
    """Why there is no interval, or an empty string."""
    if families >= least:
        return ""
    there = f"there {'is' if families == 1 else 'are'} {families}"
    return f"an interval needs at least {least} independent training runs, {there}"


def _correlation(function: Measured, points: Points, least: int, why: str, alone: str) -> Measure:
    """A correlation with its jackknife interval; none of one policy, whose tasks alone would decide it."""
    if alone:
        return Measure(math.nan, unsupported=alone)
    value = function(points.sim, points.real)
    without = points.without(function)
    low, high = correlation_interval(value, without) if points.runs >= least else (math.nan, math.nan)
    why = why or _needs(points.runs, least)
    if not why and math.isnan(low):
        why = "the agreement is perfect, or undefined, with or without one of the training runs, which leaves no width"
    return Measure(value, low, high, *points.dropped(without), why)


def _true_correlation(points: Points, plain: Measure, noise: Noise | None) -> Measure:
    if plain.unsupported:
        return Measure(math.nan, unsupported=plain.unsupported)
    if noise is None:
        return Measure(math.nan, unsupported=NO_COUNTS)
    found = true_correlation(points.sim, points.real, noise, (plain.value, plain.low, plain.high))
    if found is None:
        return Measure(
            math.nan, unsupported="the rates of one side differ hardly more than noise alone makes them"
        )
    return Measure(*found)


def _mean_size(sim: np.ndarray, real: np.ndarray) -> float:
    return float(100 * np.abs(sim - real).mean())


def _mean_gap(sim: np.ndarray, real: np.ndarray) -> float:
    return float(100 * (sim - real).mean())


def _gaps(points: Points, noise: Noise | None, why: str) -> tuple[Measure, Measure, Measure]:
    """Mean absolute gap, the same of the true rates, and mean gap, in points."""
    gaps = 100 * (points.sim - points.real)
    if len(gaps) == 0:
        return (Measure(math.nan, unsupported=why),) * 3
    few = _needs(points.runs, 3)
    size = (float(np.abs(gaps).mean()), *size_interval(np.abs(gaps), points.families))
    mean = (float(gaps.mean()), *cluster_t_interval(gaps, points.families))
    plain = Measure(*size, *points.dropped(points.without(_mean_size)), few)
    bias = Measure(*mean, *points.dropped(points.without(_mean_gap)), few)
    if noise is None:
        return plain, Measure(math.nan, unsupported=NO_COUNTS), bias
    value, low, high = true_gap(gaps / 100, noise, (size[0] / 100, size[1] / 100, size[2] / 100))
    return plain, Measure(100 * value, 100 * low, 100 * high, unsupported=few), bias


def _noise(rows: pd.DataFrame) -> Noise | None:
    """Noise of the rates: as given (averages over tasks), or from counts."""
    shared = rows["shared_noise"].to_numpy(float) if "shared_noise" in rows else None
    if "sim_noise" in rows and len(rows):
        noise = [rows[column].to_numpy(float) for column in ("sim_noise", "real_noise")]
        return (
            None
            if np.isnan(noise).any()
            else Noise(noise[0], noise[1], np.zeros(len(rows)) if shared is None else shared)
        )
    sides = [(rows[f"{w}_rate"].to_numpy(float), worth(rows, w)) for w in ("sim", "real")]
    return binomial_noise(sides[0], sides[1], shared)


def worth(rows: pd.DataFrame, world: str) -> np.ndarray:
    """What the episodes of each rate are worth; see `effective_episodes`."""
    effective = f"{world}_effective"
    return rows[effective if effective in rows else f"{world}_episodes"].to_numpy(float)


def _counts(rows: pd.DataFrame) -> list[np.ndarray]:
    """Successes and episodes of both sides, in episodes that are worth as much as independent ones."""
    out = []
    for world in ("sim", "real"):
        n, count = worth(rows, world), rows[f"{world}_episodes"].to_numpy(float)
        successes = rows[f"{world}_successes"].to_numpy(float)
        out += [np.where(n == count, successes, successes / np.where(count > 0, count, np.nan) * n), n]
    return out


def agreement(rows: pd.DataFrame) -> Agreement:
    """Agreement over comparison rows (see ``compare_rates``) that have both rates.

    Intervals and p count independent training runs, not policies: jackknife over runs for correlations, Student's
    t over runs for gaps, and a posterior of both rates together for MMRV (of these same policies).
    """
    rows = rows[rows["sim_rate"].notna() & rows["real_rate"].notna()]
    points = Points(
        rows["sim_rate"].to_numpy(float),
        rows["real_rate"].to_numpy(float),
        rows["family"].to_numpy(),
        rows["task"].to_numpy(),
    )
    policies = rows["policy"].nunique()
    why = _few(policies, points.sim, points.real)
    noise = _noise(rows)
    alone = why if policies < 2 else ""
    r = _correlation(pearson, points, FEWEST_RUNS, why, alone)
    counts = _counts(rows)
    mae, mae_true, bias = _gaps(points, noise, why)
    by_run = permutation_test(*_square(rows, "family"))
    by_policy = by_run if points.runs == policies else permutation_test(*_square(rows, "policy"))
    shared = shared_part(noise)
    dropped = points.dropped(points.without(mmrv))
    violation = _violation(points.sim, points.real, counts, None, shared, dropped, alone)
    within = violation
    if len(set(points.tasks.tolist())) > 1:
        dropped = points.dropped(points.without_within())
        within = _violation(points.sim, points.real, counts, points.tasks, shared, dropped, alone)
    remarks: list[str] = []
    if len(by_run.groups) > 1 or 0 < by_run.units < points.runs:
        fixed = points.runs - by_run.units
        remarks.append(
            "Not every policy was measured on every task; the permutation test exchanges training runs only with "
            "those measured on the same tasks"
            + (f", which leaves {plural(fixed, 'run')} in place." if fixed else ".")
        )
    return Agreement(
        points=len(rows),
        policies=policies,
        families=points.runs,
        pearson=r,
        pearson_true=_true_correlation(points, r, noise),
        spearman=_correlation(spearman, points, FEWEST_RUNS_FOR_RANKS, why, alone),
        kendall=_correlation(kendall, points, FEWEST_RUNS_FOR_RANKS, why, alone),
        mmrv=violation,
        mmrv_within=within,
        mae_points=mae,
        mae_true_points=mae_true,
        bias_points=bias,
        pearson_simpler=simpler_pearson(points.sim, points.real) if len(rows) else math.nan,
        mmrv_paper=mmrv(points.sim, points.real, ties="lower"),
        permutation=by_run,
        permutation_policies=by_policy,
        ceiling=noise_ceiling(counts[2], counts[3]),
        ceiling_finite=noise_ceiling(counts[2], counts[3], counts[1], tasks=points.tasks),
        remarks=tuple(remarks),
    )
