"""What a race found, as values and as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.report.racing import Race
from real2sim.report.sequential import confidence_sequence


@dataclass(frozen=True)
class RankResult:
    """What a race found."""

    race: Race
    policies: tuple[str, ...]
    ended: str
    """Why it ended: ``"decided"``, ``"out of starts"`` or ``"out of budget"``."""


def open_questions(race: Race, names: tuple[str, ...]) -> str:
    """What is still undecided, as text."""
    if not race.running.any():
        return "nothing"
    if race.question.until == "best":
        return f"which of {', '.join(names[i] for i in race.candidates())} is the best"
    order = race.order
    where = [
        f"{names[order[k]]} | {names[order[k + 1]]}"
        for k, cut in enumerate(race.cuts())
        if cut.state == "open"
    ]
    return f"{', '.join(where)} ({int(race.running.sum())} policies run on)"


def why_ended(race: Race) -> str:
    """Whether all that was asked for is decided, and if not, what is used up."""
    if not race.running.any():
        return "decided"
    return "out of starts" if race.turns.max() >= race.schedule.starts else "out of budget"


def facts(result: RankResult) -> dict[str, Any]:
    """The result as plain values, for ``ranking.json``."""
    race, names = result.race, result.policies
    low, high = rate_bounds(race)
    group_of = {policy: g for g, group in enumerate(race.groups(), start=1) for policy in group}
    return {
        "until": race.question.until,
        "alpha": race.question.alpha,
        "margin": race.question.margin,
        "ended": result.ended,
        "episodes": race.episodes,
        "episodes_evenly": len(names) * race.tasks * race.schedule.starts,
        "best": [names[i] for i in race.candidates()],
        "policies": [
            {
                "policy": names[i],
                "group": group_of[i],
                "episodes": int(race.turns[i]) * race.tasks,
                "judged": int(race.judged[i]),
                "rate": float(race.rates[i]),
                "low": float(low[i]),
                "high": float(high[i]),
            }
            for i in race.order.tolist()
        ],
        "cuts": [{"above": [names[i] for i in cut.above], "state": cut.state} for cut in race.cuts()],
    }


def rate_bounds(race: Race) -> tuple[np.ndarray, np.ndarray]:
    """95 % bounds of every rate that hold however its number of episodes was chosen."""
    return confidence_sequence(race.successes, race.judged)


def best_line(values: dict[str, Any]) -> str:
    """The best group of a race, as text."""
    first = [row for row in values["policies"] if row["policy"] in values["best"]]
    listed = ", ".join(f"{row['policy']} ({100 * row['rate']:.0f} %)" for row in first)
    return f"best: {listed}" + ("; none is proven worse." if len(first) > 1 else ".")


def real_agreement(result: RankResult, real_rates: Path, tasks: tuple[str, ...]) -> str:
    """r, MMRV and mean absolute error of a race's rates against real ones, both averaged over ``tasks``, as text.

    Policies that were not measured on all tasks are left out; an empty string where fewer than two remain, or where
    there is no such file.
    """
    from real2sim.report.correlation import pearson
    from real2sim.report.inputs import read_rates
    from real2sim.report.rank_violation import mmrv

    if not real_rates.is_file():
        return ""
    table = read_rates(real_rates)[0].pivot(index="policy", columns="task", values="rate")
    means = table.reindex(columns=list(tasks)).dropna().mean(axis=1)
    known = [place for place, name in enumerate(result.policies) if name in means.index]
    if len(known) < 2:
        return ""
    sim = np.asarray(result.race.rates, float)[known]
    real = means[[result.policies[place] for place in known]].to_numpy(float)
    r, gap = pearson(sim, real), 100 * float(np.abs(sim - real).mean())
    return (
        f"r {'not measured' if np.isnan(r) else f'{r:.3f}'}, MMRV {mmrv(sim, real):.3f}, mean absolute error "
        f"{gap:.1f} points ({len(known)} policies, means over tasks; those that stopped early have few episodes)"
    )


def rank_lines(result: RankResult, agreement: str = "") -> str:
    """The ranking as text; the last lines name the best group and, where it is given, the agreement with reality."""
    values = facts(result)
    width = max(len(name) for name in result.policies)
    lines = ["group  policy".ljust(9 + width) + "  episodes  rate   95 %, at any look"]
    lines += [
        f"{row['group']:>5}  {row['policy']:<{width}}  {row['episodes']:>8}  {100 * row['rate']:3.0f} %  "
        f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %"
        for row in values["policies"]
    ]
    alpha = f"{100 * values['alpha']:g} %"
    if values["until"] == "best":
        best = values["best"]
        found = f"{best[0]} is the best" if len(best) == 1 else f"the best is one of {', '.join(best)}"
        lines.append(f"{found} (chance of an error at most {alpha}).")
    else:
        lines.append(
            f"Every policy is better than those of later groups (chance of any error at most {alpha}); "
            "within a group the order is not proven."
        )
        within = [
            f"{cut['above'][-1]} and the next" for cut in values["cuts"] if cut["state"] == "within margin"
        ]
        if within:
            lines.append(f"Within {values['margin']:g} points of each other: {', '.join(within)}.")
        given_up = sum(cut["state"] == "given up" for cut in values["cuts"])
        if given_up:
            lines.append(
                f"{given_up} places between neighbours were given up: these starts are not expected to tell."
            )
    silent = {row["policy"]: row["episodes"] - row["judged"] for row in values["policies"]}
    if sum(silent.values()):
        most = sorted((name for name in silent if silent[name]), key=silent.__getitem__, reverse=True)
        listed = ", ".join(f"{silent[name]} of {name}" for name in most[:4]) + (
            ", …" if len(most) > 4 else ""
        )
        lines.append(
            f"The judge has no verdict on {sum(silent.values())} episodes ({listed}): they count neither as success "
            "nor as failure, and pairs skip those starts."
        )
    undecided = (
        ""
        if result.ended == "decided"
        else f", {result.ended}: {open_questions(result.race, result.policies)}"
    )
    lines.append(
        f"{values['episodes']} episodes; evenly it would have been {values['episodes_evenly']}{undecided}."
    )
    lines += ["", best_line(values), *([agreement] if agreement else [])]
    return "\n".join(lines)
