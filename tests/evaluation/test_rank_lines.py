"""The last lines of a race name the best policies and how its rates agree with real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from real2sim.evaluation.rank_result import RankResult, rank_lines, real_agreement, why_ended
from real2sim.report.racing import Question, Race, Schedule

NAMES = ("good", "fair", "bad")


def finished_race() -> RankResult:
    """A race on one task in which the first policy always succeeds, the second half of the time, the third never."""
    race = Race(3, 1, Question("ranking", 0.05, None), Schedule(60, 20, 20, None))
    while (asked := race.next_round()) is not None:
        turns = np.arange(asked.begin, asked.end)
        outcomes = np.stack([np.ones(len(turns)), turns % 2, np.zeros(len(turns))], axis=1)
        race.add(outcomes[:, None, list(asked.policies)])
    return RankResult(race, NAMES, why_ended(race))


def test_the_last_lines_are_the_best_policy_and_the_agreement(tmp_path: Path) -> None:
    real = tmp_path / "real_rates.csv"
    real.write_text("policy,task,successes,episodes\ngood,t,9,10\nfair,t,5,10\nbad,t,1,10\n")
    found = finished_race()
    lines = rank_lines(found, real_agreement(found, real, ("t",))).splitlines()
    assert lines[-2] == "best: good (100 %)."
    assert lines[-1].startswith("r 1.000, MMRV 0.000, mean absolute error 6.7 points (3 policies")


def test_without_real_rates_the_best_policy_is_the_last_line(tmp_path: Path) -> None:
    found = finished_race()
    assert real_agreement(found, tmp_path / "none.csv", ("t",)) == ""
    assert rank_lines(found).splitlines()[-1] == "best: good (100 %)."
