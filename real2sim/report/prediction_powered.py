"""Real success rates from few real trials and many simulated ones (prediction-powered inference)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from real2sim.report.rates import wilson

FEWEST_TRIALS = 20
"""Fewest real trials of a cell: below, the interval missed its level in simulation (docs/statistics.md)."""


@dataclass(frozen=True)
class PredictionPowered:
    """An estimate of a real success rate."""

    rate: float
    low: float
    high: float
    weight: float
    """How much the simulator is trusted: 0 ignores it, 1 takes its word and corrects its mean error."""


def prediction_powered_mean(
    real: np.ndarray, simulated_same: np.ndarray, simulated_more: np.ndarray, level: float = 0.95
) -> PredictionPowered:
    """Real rate from real outcomes (n,), simulated outcomes on the same starts (n,) and on further starts
    (m,).

    mean(real) + weight * (mean(simulated_more) - mean(simulated_same)), Angelopoulos et al. 2023; the weight
    cov / ((1 + n/m) var) makes the variance least, Angelopoulos, Duchi & Zrnic 2023 (PPI++), clipped to
    [0, 1].  Outcomes are 0 or 1 (or probabilities on the simulated side).  The variance carries one
    pseudo-start of each kind of outcome and Student's t, since the plain interval is too short with few
    trials.

    Raises:
        ValueError: if real and simulated outcomes of the same starts differ in number, or there are too few.
    """
    y, f, g = (np.asarray(values, float) for values in (real, simulated_same, simulated_more))
    if len(y) != len(f):
        raise ValueError(f"{len(y)} real outcomes and {len(f)} simulated ones were given for the same starts")
    n, m = len(y), len(g)
    if n < 2 or m < 1:
        raise ValueError(f"at least 2 real trials and 1 further simulated start are needed, got {n} and {m}")
    everything = np.concatenate([f, g])
    spread = float(everything.var())
    covariance = float(np.mean((y - y.mean()) * (f - f.mean())))
    weight = 0.0 if spread == 0 else float(np.clip(covariance / ((1 + n / m) * spread), 0, 1))
    rate = float(y.mean() + weight * (g.mean() - f.mean()))
    # A half success and a half failure each (Agresti & Coull 1998) keep the interval from closing at 0 and 1.
    corner_y, corner_f = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])
    rest = np.concatenate([y - weight * f, corner_y - weight * corner_f])
    variance = float(rest.var(ddof=1)) / n + weight**2 * float(everything.var()) / m
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * math.sqrt(variance)
    middle = min(max(rate, 0.0), 1.0)
    return PredictionPowered(
        middle, min(max(rate - half, 0.0), middle), max(min(rate + half, 1.0), middle), weight
    )


def _by_start(episodes: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Mean simulated outcome per set, policy, task and start, with the mean real one where there is one.

    A start that was simulated with several seeds is one start: its real trial must not count several times.
    """
    keys = ["set", "policy", "task", "start"]
    if "start" not in episodes or pairs.empty:
        return pd.DataFrame(columns=[*keys, "simulated", "real"])
    frame = episodes[keys].assign(simulated=episodes["success"], real=np.nan)
    frame.loc[pairs.index, "real"] = pairs["real_success"]
    return frame.groupby(keys, sort=False, observed=True)[["simulated", "real"]].mean().reset_index()


def prediction_powered_rates(episodes: pd.DataFrame, pairs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The estimate beside the plain one for every policy and task, and a sentence on what it rests on.

    ``pairs`` are the episodes with a real outcome on the same start (``pair_episodes``); all other simulated
    episodes of the cell are the further starts.
    """
    columns = ["set", "policy", "task", "real_trials", "further_starts", "plain", "plain_low", "plain_high"]
    columns += ["rate", "low", "high", "weight"]
    rows: list[tuple[object, ...]] = []
    few = no_more = 0
    for key, cell in _by_start(episodes, pairs).groupby(["set", "policy", "task"], sort=False, observed=True):
        inside = cell["real"].notna().to_numpy()
        real, simulated = cell["real"].to_numpy(float)[inside], cell["simulated"].to_numpy(float)
        same, more = simulated[inside], simulated[~inside]
        if len(same) < FEWEST_TRIALS:
            few += 1
            continue
        if len(more) == 0:
            no_more += 1
            continue
        found = prediction_powered_mean(real, same, more)
        low, high = wilson(np.array(real.sum()), np.array(len(same)))
        rows.append((*key, len(same), len(more), float(real.mean()), float(low), float(high),
                     found.rate, found.low, found.high, found.weight))  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    if pairs.empty:
        return (
            table,
            "No real trials on shared start frames were given, so none can be combined with simulated ones.",
        )
    if rows:
        gain = 1 - float(
            ((table["high"] - table["low"]) / (table["plain_high"] - table["plain_low"])).median()
        )
        change = f"{100 * gain:.0f} % shorter" if gain >= 0 else f"{-100 * gain:.0f} % longer"
        return (
            table,
            f"Combined with the simulated episodes on further starts, the median interval is {change}.",
        )
    if no_more:
        return table, (
            "Every simulated start was also run in reality, so simulation has nothing to add to the real "
            "rates; "
            "simulate further starts to make use of it."
        )
    return (
        table,
        f"Too few real trials on shared starts to combine with simulation ({FEWEST_TRIALS} per policy and "
        f"task).",
    )
