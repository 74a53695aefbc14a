"""What a race found, as values and as text."""

from __future__ import annotations

from dataclasses import dataclass
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
    return confidence_sequence(race.successes, race.turns * race.tasks)


def rank_lines(result: RankResult) -> str:
    """The ranking as text."""
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
    undecided = (
        ""
        if result.ended == "decided"
        else f", {result.ended}: {open_questions(result.race, result.policies)}"
    )
    lines.append(
        f"{values['episodes']} episodes; evenly it would have been {values['episodes_evenly']}{undecided}."
    )
    return "\n".join(lines)
