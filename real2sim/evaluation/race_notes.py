"""What a reader of a report has to know of runs in which a race decided who runs how many episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt, Lt
from typing_extensions import NotRequired, TypedDict

from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.rank_config import RACE, RESULT_FILE
from real2sim.files import read_json
from real2sim.strict import check_fields


class RankedPolicy(TypedDict):
    """A policy in what a race found."""

    policy: str
    group: int


class RaceFacts(TypedDict):
    """``ranking.json``, as far as a report reads it."""

    until: str
    alpha: Annotated[float, Gt(0), Lt(1)]
    best: NotRequired[list[str]]
    policies: list[RankedPolicy]


def race_notes(runs: tuple[Path, ...]) -> list[str]:
    """What a reader has to know of runs in which a race decided who runs how many episodes."""
    said = []
    for run in runs:
        if RACE not in RunFolder(run).settings():
            continue
        here = "The numbers of episodes" if len(runs) == 1 else f"The numbers of episodes in {run}"
        result = run / RESULT_FILE
        found = (
            "" if not result.is_file() else _groups(check_fields(RaceFacts, read_json(result), str(result)))
        )
        said.append(
            f"{here} were chosen by a race while it ran (`real2sim rank`): policies that were soon decided have few. "
            "Intervals and tests of this page take the numbers as fixed, so their levels do not hold exactly, and "
            f"rates of policies that stopped early lean a little to the side that stopped them.{found}"
        )
    return said


def _groups(result: Any) -> str:
    """The groups that a race found, whose level holds."""
    groups: dict[int, list[str]] = {}
    for row in result["policies"]:
        groups.setdefault(row["group"], []).append(row["policy"])
    listed = " > ".join(", ".join(groups[number]) for number in sorted(groups))
    if result["until"] == "best":
        listed = f"the best is {' or '.join(result['best'])}"
    return (
        f" What the race decided holds (chance of any error at most {100 * result['alpha']:g} %): {listed}."
    )
