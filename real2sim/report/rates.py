"""Success rates with counts and intervals, simulated and real side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from real2sim.report.inputs import read_rates, success_counts

LEVEL = 0.95


def wilson(
    successes: np.ndarray, episodes: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval (low, high) of each rate (Wilson 1927); missing where there is no episode."""
    k, n = np.asarray(successes, float), np.asarray(episodes, float)
    low, high = proportion_confint(k, np.where(n > 0, n, np.nan), alpha=1 - level, method="wilson")
    # At 0 and n the exact bounds are 0 and 1; rounding would leave them a hair outside the estimate.
    return np.where(k == 0, low * 0, low), np.where(k == n, high * 0 + 1, high)


def newcombe(
    sim: tuple[np.ndarray, np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a difference sim - real of two independent rates, each given as (rate, low, high).

    Newcombe (1998), method 10: the Wilson half-widths added as squares.
    """
    (p, p_low, p_high), (q, q_low, q_high) = sim, real
    gap = p - q
    return gap - np.hypot(p - p_low, q_high - q), gap + np.hypot(p_high - p, q - q_low)


def success_rates(episodes: pd.DataFrame, by: tuple[str, ...] = ("policy", "task")) -> pd.DataFrame:
    """Success rate of each policy on each task, with its count and 95 % Wilson interval."""
    frame = success_counts(episodes, list(by))
    frame["low"], frame["high"] = wilson(frame["successes"].to_numpy(), frame["episodes"].to_numpy())
    return frame


def compare_rates(sim: pd.DataFrame, real: pd.DataFrame | None) -> pd.DataFrame:
    """One row per policy and task of ``sim``: both rates, counts, intervals, and the gap in points.

    ``sim`` holds set, policy, family, task, successes, episodes, rate; ``real`` the same without set and
    family.  Where reality was not measured the real columns are missing.  ``effective`` on either side is what the
    episodes are worth (`effective_episodes`; without it, what they count) and gives the intervals their width.
    """
    keys = ["policy", "task"]
    left = sim.drop(columns=[c for c in ("low", "high", "source") if c in sim])
    if real is None:
        real = pd.DataFrame(columns=[*keys, "successes", "episodes", "rate"])
    numbers = ["successes", "episodes", "rate", "effective"]
    left, real = (
        side if "effective" in side else side.assign(effective=side["episodes"]) for side in (left, real)
    )
    left = left.rename(columns={c: f"sim_{c}" for c in numbers})
    right = real[[*keys, *numbers]].rename(columns={c: f"real_{c}" for c in numbers})
    frame = left.merge(right, on=keys, how="left")
    for world in ("sim", "real"):
        for column in numbers:
            frame[f"{world}_{column}"] = frame[f"{world}_{column}"].astype(float)
        successes, count = frame[f"{world}_successes"], frame[f"{world}_episodes"]
        worth = frame[f"{world}_effective"].to_numpy()
        scaled = successes.where(worth == count, successes / count.where(count > 0) * worth)
        frame[f"{world}_low"], frame[f"{world}_high"] = wilson(scaled.to_numpy(), worth)
    sim_side, real_side = (
        tuple(frame[f"{world}_{c}"].to_numpy() for c in ("rate", "low", "high")) for world in ("sim", "real")
    )
    low, high = newcombe(sim_side, real_side)  # type: ignore[arg-type]
    frame["gap_points"] = 100 * (frame["sim_rate"] - frame["real_rate"])
    frame["gap_low"], frame["gap_high"] = 100 * low, 100 * high
    order = ["set", "policy", "family", "task"]
    order += [f"{w}_{c}" for w in ("sim", "real") for c in (*numbers, "low", "high")]
    return frame[[*order, "gap_points", "gap_low", "gap_high"]]


def published_comparison(
    sim: pd.DataFrame, real: pd.DataFrame, families: dict[str, str] | None = None, set_name: str = "published"
) -> pd.DataFrame:
    """The comparison of two published tables of rates (policy, task, success_rate, n_trials).

    ``families`` maps a policy to its training run; a policy that is not named is its own.
    """
    sim_rates, _ = read_rates(sim, "simulated rates")
    real_rates, _ = read_rates(real, "real rates")
    sim_rates["set"] = set_name
    sim_rates["family"] = [(families or {}).get(policy, policy) for policy in sim_rates["policy"]]
    return compare_rates(sim_rates, real_rates)
