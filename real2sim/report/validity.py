"""What the episodes that a validity gate refuses do to the numbers of a report.

Invalid episodes can count as they are judged, as failures, or not at all; every rate and the agreement with reality are
given all three ways, whichever way the numbers go, and so is whether invalid episodes end differently from reality more
often than valid ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from real2sim.report.agreement import Agreement, agreement
from real2sim.report.inputs import simulated_rates
from real2sim.report.rates import compare_rates, wilson
from real2sim.report.wording import number, percent, percent_interval

Treatment = Literal["as-judged", "missing", "failure"]
TREATMENTS: Mapping[Treatment, str] = {
    "as-judged": "counted as judged",
    "missing": "left out",
    "failure": "counted as failures",
}
"""What may be done with invalid episodes, and how the page says it."""
CELL = ("set", "policy", "family", "task")
MEASURES = ("pearson", "mmrv", "mmrv_within", "mae_points", "bias_points")


@dataclass(frozen=True)
class OddsRatio:
    """Association of two yes-or-no facts about episodes."""

    ratio: float
    low: float
    high: float
    p: float
    """Two-sided, Fisher's exact test."""


@dataclass(frozen=True)
class Validity:
    """What a gate's verdicts do to a report."""

    accepted: pd.DataFrame
    """Per set and policy: ``checked``, ``accepted``, ``share`` with ``low`` and ``high``, and the median
    ``invalid_from`` of the invalid ones."""
    rates: pd.DataFrame
    """Per set, policy, task and treatment: ``successes``, ``episodes``, ``rate``, ``low``, ``high``."""
    agreement: pd.DataFrame
    """Per set and treatment: `MEASURES` with ``_low`` and ``_high``, ``points`` and ``policies``."""
    endings: pd.DataFrame
    """Per set: invalid and valid paired episodes, how many of each ended differently in reality, and the odds ratio."""

    @property
    def measured(self) -> bool:
        """Whether any episode was checked."""
        return len(self.accepted) > 0

    @property
    def statement(self) -> str:
        """The accepted share of the first set in a sentence."""
        if not self.measured:
            return "No validity gate was applied: whether the video follows the actions is not measured."
        first = self.accepted[self.accepted["set"] == self.accepted["set"].iloc[0]]
        accepted, checked = int(first["accepted"].sum()), int(first["checked"].sum())
        low, high = wilson(np.array(accepted), np.array(checked))
        return (
            f"The validity gate accepts {accepted} of {checked} episodes "
            f"({percent(accepted / checked)}, {percent_interval(float(low), float(high))})."
        )

    def metrics(self) -> dict[str, Any] | None:
        """The key ``validity`` of ``metrics.json``; None where nothing was checked."""
        if not self.measured:
            return None
        return {
            name: {
                "policies": _records(self.accepted, name),
                "agreement": _records(self.agreement, name),
                "endings": next(iter(_records(self.endings, name)), None),
            }
            for name in self.accepted["set"].unique()
        }


def check_treatment(treatment: str) -> None:
    """Raise a ValueError for another word than `Treatment` knows."""
    if not isinstance(treatment, str) or treatment not in TREATMENTS:
        raise ValueError(f"invalid episodes can be {', '.join(TREATMENTS)}, got {treatment!r}")


def treat(episodes: pd.DataFrame, treatment: Treatment) -> pd.DataFrame:
    """Episodes with those that are invalid counted in one of three ways; unchecked ones stay as they are."""
    check_treatment(treatment)
    if treatment == "as-judged" or "valid" not in episodes:
        return episodes
    invalid = is_invalid(episodes)
    if treatment == "missing":
        return episodes[~invalid]
    return episodes.assign(success=episodes["success"].where(~invalid, 0.0))


def is_invalid(episodes: pd.DataFrame) -> pd.Series:
    """Which episodes a gate refused; unchecked ones are not refused."""
    return episodes["valid"].map({True: False, False: True}).fillna(False).astype(bool)


def validity(episodes: pd.DataFrame, real: pd.DataFrame | None, pairs: pd.DataFrame) -> Validity:
    """What the gate's verdicts (column ``valid``) of scored episodes do to rates and agreement.

    Args:
        episodes: set, policy, family, task, success (0/1), valid (true, false or missing), invalid_from.
        real: real rates (policy, task, successes, episodes, rate), if known.
        pairs: the episodes that have a real one of the same start (``pair_episodes``), with ``agree``.
    """
    if "valid" not in episodes or not episodes["valid"].notna().any():
        empty = pd.DataFrame({"set": pd.Series(dtype=str)})
        return Validity(empty, empty, empty, empty)
    rates, found = [], []
    every = episodes[list(CELL)].drop_duplicates()
    for treatment in TREATMENTS:
        # A cell whose episodes are all left out is not measured rather than absent.
        counts = every.merge(simulated_rates(treat(episodes, treatment)), how="left", on=list(CELL))
        counts[["successes", "episodes"]] = counts[["successes", "episodes"]].fillna(0.0)
        low, high = wilson(counts["successes"].to_numpy(), counts["episodes"].to_numpy())
        rates.append(counts.assign(treatment=treatment, low=low, high=high))
        rows = compare_rates(counts[counts["episodes"] > 0], real)
        for name in episodes["set"].unique():
            found.append(
                {"set": name, "treatment": treatment} | _agreement_cells(agreement(rows[rows["set"] == name]))
            )
    return Validity(
        _accepted(episodes),
        pd.concat(rates, ignore_index=True),
        pd.DataFrame(found),
        _endings(pairs),
    )


def odds_ratio(a: int, b: int, c: int, d: int) -> OddsRatio:
    """Odds ratio of the table ((a, b), (c, d)): odds of the first column in the first row against the second.

    Conditional maximum likelihood with Fisher's exact 95 % interval (scipy.stats.contingency.odds_ratio); nan where a
    row or a column is empty.
    """
    from scipy.stats import fisher_exact
    from scipy.stats.contingency import odds_ratio as conditional

    table = np.array([[a, b], [c, d]])
    if not table.sum(axis=0).all() or not table.sum(axis=1).all():
        return OddsRatio(math.nan, math.nan, math.nan, math.nan)
    found = conditional(table, kind="conditional")
    interval = found.confidence_interval(0.95)
    return OddsRatio(
        float(found.statistic), float(interval.low), float(interval.high), float(fisher_exact(table).pvalue)
    )


def ratio_words(found: OddsRatio) -> str:
    """“2.1 (1.3 to 3.4)”."""
    if math.isnan(found.ratio):
        return "not measured"
    high = "∞" if math.isinf(found.high) else number(found.high, 1)
    ratio = "∞" if math.isinf(found.ratio) else number(found.ratio, 1)
    return f"{ratio} ({number(found.low, 1)} to {high})"


def _accepted(episodes: pd.DataFrame) -> pd.DataFrame:
    checked = episodes[episodes["valid"].notna()]
    invalid = is_invalid(checked)
    from_frame = checked["invalid_from"] if "invalid_from" in checked else pd.Series(np.nan, checked.index)
    work = checked.assign(_valid=~invalid, _from=pd.to_numeric(from_frame).where(invalid))
    out = (
        work.groupby(["set", "policy"], sort=False)
        .agg(checked=("_valid", "size"), accepted=("_valid", "sum"), invalid_from=("_from", "median"))
        .reset_index()
    )
    out["share"] = out["accepted"] / out["checked"]
    out["low"], out["high"] = wilson(out["accepted"].to_numpy(), out["checked"].to_numpy())
    return out


def _agreement_cells(found: Agreement) -> dict[str, float]:
    cells: dict[str, float] = {"points": found.points, "policies": found.policies}
    for name in MEASURES:
        measure = getattr(found, name)
        cells |= {name: measure.value, f"{name}_low": measure.low, f"{name}_high": measure.high}
    return cells


def _endings(pairs: pd.DataFrame) -> pd.DataFrame:
    """How often invalid and valid paired episodes ended differently, per set."""
    columns = ["set", "invalid", "invalid_differ", "valid", "valid_differ", "ratio", "low", "high", "p"]
    rows = []
    known = pairs[pairs["valid"].notna()] if "valid" in pairs else pairs.iloc[:0]
    for name, group in known.groupby("set", sort=False):
        refused = is_invalid(group)
        # Where a start was run several times in reality, most of them decide.
        differ = group["agree"] < 0.5
        a, b = int((refused & differ).sum()), int((refused & ~differ).sum())
        c, d = int((~refused & differ).sum()), int((~refused & ~differ).sum())
        found = odds_ratio(a, b, c, d)
        rows.append((name, a + b, a, c + d, c, found.ratio, found.low, found.high, found.p))
    return pd.DataFrame(rows, columns=columns)


def _records(table: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    if "set" not in table:
        return []
    return [
        {str(key): value for key, value in row.items() if key != "set"}
        for row in table[table["set"] == name].to_dict("records")
    ]
