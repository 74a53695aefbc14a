"""Agreement of one set of policies: every measure together with what limits it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from real2sim.report.correlation import (
    BOOTSTRAP_FROM,
    bootstrap_interval,
    fisher_z_interval,
    kendall,
    pearson,
    permutation_test,
    simpler_pearson,
    spearman,
)
from real2sim.report.noise_ceiling import NoiseCeiling, noise_ceiling
from real2sim.report.rank_violation import mmrv, mmrv_interval


@dataclass(frozen=True)
class Measure:
    """A number with its 95 % interval and its range when one policy at a time is left out.

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
    spearman: Measure
    kendall: Measure
    mmrv: Measure
    mmrv_within: Measure
    """MMRV where only policies on the same task are compared; equal to ``mmrv`` for one task."""
    mae_points: Measure
    bias_points: Measure
    pearson_simpler: float
    p: float
    """One-sided exact permutation p of Pearson's r; units are families."""
    p_floor: float
    p_exact: bool
    p_policies: float
    """The same with policies as units, as if all were independent."""
    bootstrap_low: float
    bootstrap_high: float
    ceiling: NoiseCeiling | None
    ceiling_finite: NoiseCeiling | None
    ceiling_within: float
    """97.5 % quantile of ``mmrv_within`` of a perfect simulator with as many episodes; nan without counts."""
    remarks: tuple[str, ...] = field(default=())


def _few(policies: int, families: int, sim: np.ndarray, real: np.ndarray) -> str:
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


def cluster_t_interval(values: np.ndarray, clusters: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of ``values`` when only whole clusters are independent; (nan, nan) below three.

    Student's t with (clusters - 1) degrees of freedom and the cluster-robust standard error
    sqrt(f / (f-1) * sum_c (sum_{i in c} (x_i - mean))^2) / n (Liang & Zeger 1986).
    """
    names, index = np.unique(clusters, return_inverse=True)
    if len(names) < 3:
        return math.nan, math.nan
    mean = float(values.mean())
    sums = np.bincount(index, weights=values - mean)
    error = math.sqrt(len(names) / (len(names) - 1) * float((sums**2).sum())) / len(values)
    half = float(stats.t.ppf(0.5 + level / 2, len(names) - 1)) * error
    return mean - half, mean + half


def size_interval(sizes: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """``cluster_t_interval`` on the logarithmic scale, for the mean of sizes (never negative, skewed).

    mean * exp(± t * error / mean), by the delta method; at most 100 points.
    """
    low, high = cluster_t_interval(sizes, clusters)
    mean = float(sizes.mean())
    if mean == 0 or math.isnan(low):
        return low, high
    stretch = math.exp(min((high - mean) / mean, 50.0))
    return mean / stretch, min(mean * stretch, 100.0)


def _square(rows: pd.DataFrame, index: str) -> tuple[np.ndarray, np.ndarray]:
    """Rates (k t) of the policies or families that have every task."""
    tables = []
    for world in ("sim", "real"):
        table = rows.pivot_table(
            index=index, columns="task", values=f"{world}_rate", aggfunc="mean", sort=True
        )
        tables.append(table)
    whole = tables[0].notna().all(axis=1) & tables[1].notna().all(axis=1)
    return tables[0][whole].to_numpy(), tables[1][whole].to_numpy()


def _violation(
    sim: np.ndarray,
    real: np.ndarray,
    counts: list[np.ndarray],
    tasks: np.ndarray | None,
    dropped: tuple[float, float],
    why: str,
) -> Measure:
    """MMRV over all points, or within tasks."""
    if why:
        return Measure(math.nan, unsupported=why)
    value = mmrv(sim, real, tasks)
    low, high = mmrv_interval((counts[0], counts[1]), (counts[2], counts[3]), tasks=tasks)
    if math.isnan(high):
        why = "no interval: the number of episodes is not stated on both sides"
    return Measure(value, min(low, value), max(high, value), *dropped, why)


def _highest_violation(counts: list[np.ndarray], tasks: np.ndarray) -> float:
    ceiling = noise_ceiling(counts[2], counts[3], counts[1], tasks=tasks)
    return math.nan if ceiling is None else ceiling.mmrv_high


def agreement(rows: pd.DataFrame) -> Agreement:
    """Agreement over comparison rows (see ``compare_rates``) that have both rates.

    Intervals and p count independent families, not policies: Fisher's z for Pearson's r, Student's t over
    family means for bias and mean absolute error, and the posterior range for MMRV (of these same policies).
    """
    rows = rows[rows["sim_rate"].notna() & rows["real_rate"].notna()]
    sim, real = rows["sim_rate"].to_numpy(float), rows["real_rate"].to_numpy(float)
    policies, families = rows["policy"].nunique(), rows["family"].nunique()
    why = _few(policies, families, sim, real)
    remarks: list[str] = []

    def dropped(function) -> tuple[float, float]:  # type: ignore[no-untyped-def]
        # With three policies two would be left, whose correlation is always 1 or -1.
        if policies < 4:
            return math.nan, math.nan
        kept = [rows["policy"].to_numpy() != policy for policy in rows["policy"].unique()]
        values = [function(sim[keep], real[keep]) for keep in kept]
        values = [value for value in values if not math.isnan(value)]
        return (min(values), max(values)) if values else (math.nan, math.nan)

    r = pearson(sim, real)
    low, high = fisher_z_interval(r, families)
    thin = "" if families >= 4 else f"an interval needs at least 4 independent policies, there are {families}"
    thin = thin or ("" if abs(r) < 1 else "all points lie on one line, where Fisher's interval has no width")
    r_measure = Measure(r, low, high, *dropped(pearson), why or thin)
    rho, tau = (
        Measure(
            value,
            *fisher_z_interval(value, families, kind=kind),
            *dropped(function),
            why
            or (
                f"an interval needs at least {least} independent policies, there are {families}"
                if families < least
                else ""
                if abs(value) < 1 - 1e-9
                else "the order is the same on both sides, where there is no width"
            ),
        )
        for kind, function, least, value in (
            ("spearman", spearman, 4, spearman(sim, real)),
            ("kendall", kendall, 5, kendall(sim, real)),
        )
    )

    counts = [rows[f"{w}_{c}"].to_numpy(float) for w in ("sim", "real") for c in ("successes", "episodes")]
    task = rows["task"].to_numpy()
    violation = _violation(sim, real, counts, None, dropped(mmrv), why if policies < 2 else "")
    within = _violation(sim, real, counts, task, (math.nan, math.nan), why if policies < 2 else "")

    gaps = 100 * (sim - real)
    owner = rows["family"].to_numpy()
    few = "" if families >= 3 else f"an interval needs at least 3 independent policies, there are {families}"
    few = few if len(gaps) else why
    mae_low, mae_high = size_interval(np.abs(gaps), owner) if len(gaps) else (math.nan, math.nan)
    mae = Measure(
        float(np.abs(gaps).mean()) if len(gaps) else math.nan,
        mae_low,
        mae_high,
        *dropped(lambda x, y: float(100 * np.abs(x - y).mean())),
        few,
    )
    bias = Measure(
        float(gaps.mean()) if len(gaps) else math.nan,
        *(cluster_t_interval(gaps, owner) if len(gaps) else (math.nan, math.nan)),
        *dropped(lambda x, y: float(100 * (x - y).mean())),
        few,
    )

    by_policy = permutation_test(*_square(rows, "policy")) if policies else None
    by_run = permutation_test(*_square(rows, "family")) if policies else None
    if by_policy and by_policy.units < policies:
        remarks.append(
            f"{policies - by_policy.units} policies were not measured on every task; the permutation test "
            f"leaves them out."
        )
    matrix_sim, matrix_real = sim[:, None], real[:, None]
    boot_low, boot_high = bootstrap_interval(matrix_sim, matrix_real, rows["family"].to_numpy())
    if families < BOOTSTRAP_FROM:
        remarks.append(
            f"Bootstrap interval: unsupported with {families} independent policies (6 are needed)."
        )
    return Agreement(
        points=len(rows),
        policies=policies,
        families=families,
        pearson=r_measure,
        spearman=rho,
        kendall=tau,
        mmrv=violation,
        mmrv_within=within,
        mae_points=mae,
        bias_points=bias,
        pearson_simpler=simpler_pearson(sim, real) if len(sim) else math.nan,
        p=by_run.p if by_run else math.nan,
        p_floor=by_run.floor if by_run else math.nan,
        p_exact=by_run.exact if by_run else True,
        p_policies=by_policy.p if by_policy else math.nan,
        bootstrap_low=boot_low,
        bootstrap_high=boot_high,
        ceiling=noise_ceiling(counts[2], counts[3]),
        ceiling_finite=noise_ceiling(counts[2], counts[3], counts[1]),
        ceiling_within=_highest_violation(counts, task),
        remarks=tuple(remarks),
    )
