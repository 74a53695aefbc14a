"""Races in which the judge has no verdict on some episodes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ranking_races import made_up_outcomes
from real2sim.report.betting import log_evidence
from real2sim.report.racing import Question, Race, Schedule


def run(outcomes: np.ndarray, question: Question, starts: int) -> Race:
    running = Race(outcomes.shape[2], outcomes.shape[1], question, Schedule(starts))
    while (asked := running.next_round()) is not None:
        running.add(outcomes[asked.begin : asked.end][:, :, list(asked.policies)])
    return running


def with_gaps(outcomes: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    gaps = np.random.default_rng(seed).random(outcomes.shape) < share
    return np.where(gaps, np.nan, outcomes)


def test_a_pair_bets_on_the_turns_in_which_both_have_every_verdict() -> None:
    outcomes = made_up_outcomes(np.array([[0.7, 0.4], [0.6, 0.5]]), 40, np.random.default_rng(0))
    held = with_gaps(outcomes, 0.15)
    running = run(held, Question("ranking"), 40)
    whole = ~np.isnan(held).any(axis=(1, 2))
    assert 10 < whole.sum() < 35
    evidence = log_evidence((held[..., 0] - held[..., 1])[whole])
    assert running.log_better[0, 1] == pytest.approx(max(0, evidence.max()), abs=1e-9)


def test_rates_are_of_the_judged_episodes_and_never_of_none() -> None:
    outcomes = np.ones((8, 2, 2))
    outcomes[:, :, 1] = 0
    outcomes[:4, 0, 0] = np.nan
    running = run(outcomes, Question("best"), 8)
    assert running.judged.tolist() == [12, 16]
    assert running.rates.tolist() == [1, 0]
    assert running.episodes == 32


def test_without_gaps_nothing_changes_and_with_few_the_same_is_decided() -> None:
    outcomes = made_up_outcomes(np.tile([0.95, 0.5, 0.05], (2, 1)), 100, np.random.default_rng(3))
    full, some = (run(held, Question("groups"), 100) for held in (outcomes, with_gaps(outcomes, 0.02)))
    assert full.groups() == some.groups() == [(0,), (1,), (2,)]


@pytest.mark.slow
def test_races_with_gaps_are_hardly_ever_wrong() -> None:
    # All equal: whatever is called decided is wrong.  Verdicts are missing in a third of one policy's episodes.
    wrong = 0
    for seed in range(200):
        outcomes = made_up_outcomes(np.tile([0.5] * 4, (2, 1)), 60, np.random.default_rng(seed))
        outcomes[..., :1] = with_gaps(outcomes[..., :1], 0.33, seed)
        wrong += len(run(outcomes, Question("groups"), 60).groups()) > 1
    # 5 % of 200 are 10; 17 and more come with a chance below 3 % at that level.
    assert wrong <= 16


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5])
def test_other_numbers_are_no_outcomes(value: float) -> None:
    running = Race(2, 1, Question("best"), Schedule(8))
    outcomes = np.zeros((8, 1, 2))
    outcomes[3, 0, 1] = value
    with pytest.raises(ValueError, match="outcomes 0, 1 or NaN"):
        running.add(outcomes)
