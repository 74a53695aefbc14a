"""How often a race is wrong, and how many episodes it saves: made-up worlds with known rates, and a stored run.

    python -m benchmarks.ranking_races --repeats 1000
    python -m benchmarks.ranking_races --run notebooks/data/drawer_run --repeats 1000

Without ``--run``, 16 policies of known skill meet the same starts; how hard a start is, is shared by all of them.  A
race is wrong if it was *at any look* sure of something false: of a group that is not better than the next, or of a
best policy that is not.  With ``--run``, the episodes of a scored run are raced again, in random orders of its starts,
and compared with the groups that the same evidence gives when every policy runs every start.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from real2sim.episodes.run_folder import load_run
from real2sim.report.racing import Question, Race, Schedule, Until

TASKS = 2


@dataclass(frozen=True)
class Outcome:
    """One race."""

    episodes: int
    wrong: bool
    groups: tuple[frozenset[int], ...]
    decided: int
    """Cuts that were decided."""


def worlds(policies: int = 16) -> dict[str, np.ndarray]:
    """Skill (tasks policies) of every world, as success rates."""
    k = policies
    ladder = np.linspace(0.9, 0.15, k)
    even = np.tile(np.linspace(0.7, 0.3, TASKS)[:, None], (1, k))
    one_best = np.full((TASKS, k), 0.5)
    one_best[:, 0] = 0.75
    opposite = np.full((TASKS, k), 0.5)
    opposite[0, ::2], opposite[1, ::2] = 0.8, 0.2
    return {
        "all equal": even,
        "equal on average, opposite tasks": opposite,
        "near-ties of 1 point": np.tile(0.5 + 0.01 * np.arange(k)[::-1] - 0.005 * k, (TASKS, 1)),
        "one best by 25 points": one_best,
        "pairs of equals, 10 points apart": np.tile(np.repeat(np.linspace(0.9, 0.2, k // 2), 2), (TASKS, 1)),
        "ladder of 5 points": np.stack([ladder, ladder]),
    }


def made_up_outcomes(
    skill: np.ndarray, starts: int, rng: np.random.Generator, shared: float = 0.5
) -> np.ndarray:
    """Outcomes (starts tasks policies) of policies that find the same starts hard, by the share ``shared``."""
    hard = rng.standard_normal((starts, len(skill), 1)) * np.sqrt(shared)
    own = rng.standard_normal((starts, *skill.shape)) * np.sqrt(1 - shared)
    return (hard + own < stats.norm.ppf(skill)).astype(float)


def race(outcomes: np.ndarray, question: Question, schedule: Schedule, skill: np.ndarray) -> Outcome:
    """Run one race over known outcomes (starts tasks policies); ``skill`` (policies) says what is true."""
    running = Race(outcomes.shape[2], outcomes.shape[1], question, schedule)
    wrong = False
    while (asked := running.next_round()) is not None:
        running.add(outcomes[asked.begin : asked.end][:, :, list(asked.policies)])
        if question.until == "best":
            left = running.candidates()
            wrong |= len(left) == 1 and skill[left[0]] < skill.max() - 1e-12
        else:
            for cut in running.cuts():
                if cut.state == "decided":
                    below = np.setdiff1d(np.arange(len(skill)), cut.above)
                    wrong |= bool(skill[list(cut.above)].min() <= skill[below].max() + 1e-12)
    groups = tuple(frozenset(group) for group in running.groups())
    if question.until == "best":
        groups = (frozenset(running.candidates().tolist()),)
    return Outcome(running.episodes, bool(wrong), groups, len(running.groups()) - 1)


def table(rows: Sequence[tuple[object, ...]], head: Sequence[str]) -> str:
    """Rows as Markdown."""
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def in_made_up_worlds(repeats: int, starts: Sequence[int], untils: Sequence[Until]) -> str:
    """Share of wrong races, and median episodes, in every world."""
    rows = []
    for name, skill in worlds().items():
        for count in starts:
            for until in untils:
                found = []
                for repeat in range(repeats):
                    outcomes = made_up_outcomes(skill, count, np.random.default_rng([repeat, count]))
                    found.append(race(outcomes, Question(until), Schedule(count), skill.mean(axis=0)))
                wrong = sum(item.wrong for item in found)
                _, high = stats.binomtest(wrong, repeats).proportion_ci(0.95, "wilson")
                median = int(np.median([item.episodes for item in found]))
                rows.append(
                    (name, count, until, f"{wrong} of {repeats} (at most {100 * high:.1f} %)", median,
                     f"{np.mean([item.decided for item in found]):.1f}")
                )  # fmt: skip
                print(table(rows[-1:], ("",) * 6).splitlines()[-1], flush=True)
    return table(rows, ("world", "starts per task", "until", "wrong", "median episodes", "cuts decided"))


def stored_outcomes(run: Path) -> np.ndarray:
    """Outcomes (starts tasks policies) of a scored run, policies by their rate, best first.

    An episode without a verdict counts as a failure.
    """
    episodes: pd.DataFrame = load_run(run)
    episodes = episodes[episodes["set"] == "policies"]
    order = episodes.groupby("policy")["success"].mean().sort_values(ascending=False, kind="stable").index
    tasks = [
        part.pivot(index="start", columns="policy", values="success").reindex(columns=order)
        for _, part in episodes.groupby("task")
    ]
    return np.stack([np.nan_to_num(part.to_numpy(float)) for part in tasks], axis=1)


def on_a_stored_run(run: Path, repeats: int) -> str:
    """Episodes that a race of a stored run takes, and whether its groups are those of the whole run."""
    outcomes = stored_outcomes(run)
    starts, tasks, policies = outcomes.shape
    rate = outcomes.mean(axis=(0, 1))
    rows = []
    for until in ("best", "groups", "ranking"):
        same, raced, wrong, whole_groups = 0, [], 0, []
        for repeat in range(repeats):
            rng = np.random.default_rng(repeat)
            mixed = np.stack([outcomes[rng.permutation(starts), task] for task in range(tasks)], axis=1)
            whole = Race(policies, tasks, Question(until), Schedule(starts))
            whole.add(mixed)
            found = race(mixed, Question(until), Schedule(starts), rate)
            expected = whole.groups() if until != "best" else [tuple(whole.candidates().tolist())]
            same += found.groups == tuple(frozenset(group) for group in expected)
            whole_groups.append(len(whole.groups()))
            raced.append(found.episodes)
            wrong += found.wrong
        low, median, high = np.quantile(raced, [0.1, 0.5, 0.9]).astype(int)
        rows.append((until, outcomes.size, f"{median} ({low} to {high})", f"{same} of {repeats}",
                     f"{wrong} of {repeats}", f"{np.mean(whole_groups):.1f}"))  # fmt: skip
    head = (
        "until",
        "episodes evenly",
        "raced: median (10 % to 90 %)",
        "same result",
        "wrong",
        "groups evenly",
    )
    return table(rows, head)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--run", type=Path, help="scored run folder that is raced again")
    parser.add_argument(
        "--starts", type=int, nargs="+", default=[100], help="starts per task in made-up worlds"
    )
    parser.add_argument("--until", nargs="+", default=["best", "groups", "ranking"])
    args = parser.parse_args(arguments)
    if args.run is not None:
        print(on_a_stored_run(args.run, args.repeats))
    else:
        print(in_made_up_worlds(args.repeats, args.starts, args.until))


if __name__ == "__main__":
    main()
