"""``metrics.json``: the numbers of a report under stable keys (documented in docs/report.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from real2sim.report.agreement import Agreement, Measure, agreement
from real2sim.report.noise_ceiling import NoiseCeiling
from real2sim.report.scopes import AVERAGE, POOLED

if TYPE_CHECKING:
    from real2sim.report.result import Report

FORMAT = 2
"""Raised when a key changes its meaning; new keys do not raise it."""
MEASURES = (
    "pearson", "pearson_true", "spearman", "kendall", "mmrv", "mmrv_within", "mae_points", "mae_true_points",
    "bias_points",
)  # fmt: skip


def plain(value: Any) -> Any:
    """Values that JSON has: numbers that do not exist become null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else value
    return value


def _measure(name: str, measure: Measure) -> dict[str, Any]:
    out: dict[str, Any] = {
        name: measure.value,
        f"{name}_low": measure.low,
        f"{name}_high": measure.high,
        f"{name}_drop_one_low": measure.drop_low,
        f"{name}_drop_one_high": measure.drop_high,
    }
    if measure.unsupported:
        out[f"{name}_unsupported"] = measure.unsupported
    return out


def _ceiling(ceiling: NoiseCeiling | None) -> dict[str, Any] | None:
    if ceiling is None:
        return None
    names = ("pearson", "mmrv", "mae")
    keys = {"mae": "mae_points"}
    return {
        keys.get(name, name): {
            "median": getattr(ceiling, keys.get(name, name)),
            "low": getattr(ceiling, f"{name}_low"),
            "high": getattr(ceiling, f"{name}_high"),
        }
        for name in names
    }


def agreement_metrics(value: Agreement) -> dict[str, Any]:
    """The keys of one agreement: of a set, of a task, or of the averages over tasks."""
    out: dict[str, Any] = {"points": value.points, "policies": value.policies, "families": value.families}
    for name in MEASURES:
        out.update(_measure(name, getattr(value, name)))
    out.update(
        pearson_simpler=value.pearson_simpler,
        mmrv_paper=value.mmrv_paper,
        permutation_p=value.permutation.p,
        permutation_p_opposite=value.permutation.p_opposite,
        permutation_p_floor=value.permutation.floor,
        permutation_units=value.permutation.units,
        permutation_exact=value.permutation.exact,
        permutation_p_policies=value.permutation_policies.p,
        noise_ceiling=_ceiling(value.ceiling),
        noise_ceiling_same_episodes=_ceiling(value.ceiling_finite),
    )
    return out


def episode_counts(episodes: pd.DataFrame) -> dict[str, Any]:
    """Episodes and the mean number of passes through the network per generated frame."""
    out: dict[str, Any] = {"episodes": len(episodes), "frame_passes_per_frame": None}
    if {"frame_passes", "steps"} <= set(episodes.columns):
        known = episodes[episodes["frame_passes"].notna() & (episodes["steps"] > 0)]
        if len(known):
            out["frame_passes_per_frame"] = float(known["frame_passes"].sum() / known["steps"].sum())
    return out


def agreement_frame(by_set: dict[str, dict[str, Agreement]]) -> pd.DataFrame:
    """Tidy: one row per set, scope (pooled, task average, a task) and measure."""
    rows = []
    for name, scopes in by_set.items():
        for scope, value in scopes.items():
            for measure_name in MEASURES:
                measure: Measure = getattr(value, measure_name)
                rows.append(
                    {
                        "set": name,
                        "scope": scope,
                        "measure": measure_name,
                        "value": measure.value,
                        "low": measure.low,
                        "high": measure.high,
                        "drop_one_low": measure.drop_low,
                        "drop_one_high": measure.drop_high,
                        "points": value.points,
                        "policies": value.policies,
                        "families": value.families,
                        "unsupported": measure.unsupported,
                    }
                )
    columns = ["set", "scope", "measure", "value", "low", "high", "drop_one_low", "drop_one_high", "points"]
    return pd.DataFrame(rows, columns=[*columns, "policies", "families", "unsupported"])


def report_metrics(report: Report) -> dict[str, Any]:
    """All keys of ``metrics.json``: the main (first) set at the top level, every set under "sets"."""
    episodes, sets = report.episodes, list(report.by_set)
    main = sets[0] if sets else None
    chosen = episodes[episodes["set"] == main] if sets else episodes
    pooled = report.by_set[main][POOLED] if main is not None else agreement(report.rates)
    out: dict[str, Any] = {
        "format": FORMAT,
        "title": report.title,
        "real_name": report.real_name,
        "set": main,
    }
    out |= agreement_metrics(pooled) | episode_counts(chosen)
    # At the top level "policies" are those that ran; "compared" are those with a real rate as well.
    ran = report.rates[report.rates["set"] == main]["policy"].nunique() if sets else 0
    out |= {"policies": int(ran), "compared": pooled.policies}
    out["verdict"] = {name: {"grade": v.grade, "text": v.text} for name, v in report.verdicts.items()}
    out["sets"] = {name: _set_metrics(report, name) for name in sets}
    out["judge"] = report.judge.to_dict("records")
    out["validity"] = report.validity.metrics()
    out["remarks"] = list(report.remarks)
    return plain(out)


def _set_metrics(report: Report, name: str) -> dict[str, Any]:
    found, same = report.by_set[name], report.episode_agreement
    same = same[same["set"] == name] if len(same) else same
    ranking = report.ranking[name].table
    return {
        **episode_counts(report.episodes[report.episodes["set"] == name]),
        POOLED: agreement_metrics(found[POOLED]),
        "task_average": agreement_metrics(found[AVERAGE]) if AVERAGE in found else None,
        "tasks": {
            scope: agreement_metrics(value)
            for scope, value in found.items()
            if scope not in (POOLED, AVERAGE)
        },
        "episode_agreement": {
            row["task"]: {key: value for key, value in row.items() if key not in ("set", "task")}
            for row in same.to_dict("records")
        },
        "pairs": {
            order: int((report.pairs["order"][report.pairs["set"] == name] == order).sum())
            for order in ("right", "wrong", "tied")
        },
        "ranking": ranking.to_dict("records"),
        "trusted_steps": report.by_length[name].horizon,
    }
