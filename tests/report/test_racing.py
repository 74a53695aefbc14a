"""Races over outcomes that are known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks.ranking_races import made_up_outcomes, race, stored_outcomes, worlds
from real2sim.report.betting import log_evidence
from real2sim.report.racing import Question, Race, Schedule


def run(outcomes: np.ndarray, question: Question, schedule: Schedule) -> Race:
    running = Race(outcomes.shape[2], outcomes.shape[1], question, schedule)
    while (asked := running.next_round()) is not None:
        running.add(outcomes[asked.begin : asked.end][:, :, list(asked.policies)])
    return running


def skilled(*rates: float, starts: int = 100, seed: int = 0) -> np.ndarray:
    skill = np.tile(np.array(rates), (2, 1))
    return made_up_outcomes(skill, starts, np.random.default_rng(seed))


def test_all_policies_run_the_first_round_and_the_worst_leave_first() -> None:
    running = run(skilled(0.9, 0.55, 0.05), Question("best"), Schedule(100))
    assert running.turns.min() >= 8
    assert running.turns[2] == running.turns.min()
    assert running.candidates().tolist() == [0]
    assert running.episodes < 0.6 * 600


def test_groups_are_ordered_and_hold_everybody() -> None:
    running = run(skilled(0.95, 0.5, 0.5, 0.05), Question("groups"), Schedule(100))
    assert running.groups() in ([(0,), (1, 2), (3,)], [(0,), (2, 1), (3,)])
    assert {cut.state for cut in running.cuts()} == {"decided", "given up"}


def test_a_ranking_gives_nothing_up_and_groups_do() -> None:
    outcomes = skilled(0.5, 0.5, 0.5, 0.5)
    full = run(outcomes, Question("ranking"), Schedule(100))
    assert full.episodes == outcomes.size
    assert {cut.state for cut in full.cuts()} == {"open"}
    assert run(outcomes, Question("groups"), Schedule(100)).episodes < outcomes.size


def test_a_pair_is_given_up_where_a_hopeful_future_would_not_decide_it() -> None:
    # The second has won 5 of 8 starts against the last and lost 1.  If the starts left go one standard error better
    # (score bounds at z = 1), the capital has to reach 2 (k - 1) / (0.2 * 0.05) with k = 3 policies.
    played = np.array([[1] * 8, [1, 1, 1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 1, 0]], float).T[:, None]
    one = 2 * stats.norm.sf(1)
    win, lose = proportion_confint(5, 8, one, "wilson")[1], proportion_confint(1, 8, one, "wilson")[0]
    share = np.arange(0.05, 1, 0.1)

    def decided(starts: int) -> bool:
        growth = (5 + win * (starts - 8)) * np.log(1 + share) + (1 + lose * (starts - 8)) * np.log(1 - share)
        return bool(np.exp(growth).mean() >= 400)

    for starts in range(8, 40):
        # All three go on, so a budget allows as many starts as a third of its episodes.
        for schedule in (Schedule(starts), Schedule(100, budget=3 * starts + 2)):
            running = Race(3, 1, Question("groups"), schedule)
            running.add(played)
            assert running.cuts()[1].state == ("open" if decided(starts) else "given up")
    assert not decided(12) and decided(39)


def test_equals_are_within_a_wide_margin() -> None:
    running = run(skilled(0.9, 0.9, 0.2, starts=400), Question("ranking", margin=20.0), Schedule(400))
    assert [cut.state for cut in running.cuts()] == ["within margin", "decided"]
    assert running.next_round() is None
    assert running.turns.max() < 400


def test_four_equals_are_within_the_margin_once_each_of_their_pairs_is_proven_so() -> None:
    # Without a difference the capital on "less than 20 points" is the mean over the shares f of (1 + f 0.2 / 0.8)^t;
    # it has to reach six pairs over a fifth of 5 %.
    share = np.arange(0.05, 1, 0.1)
    turns = next(t for t in range(1, 400) if ((1 + share * 0.25) ** t).mean() >= 6 / 0.01)
    for count in (turns - 1, turns):
        running = Race(4, 1, Question("ranking", margin=20.0), Schedule(400))
        running.add(np.ones((count, 1, 4)))
        assert running.near().sum() == (12 if count == turns else 0)


def test_a_difference_beyond_the_margin_is_not_called_within_it() -> None:
    found = [
        run(skilled(0.7, 0.5, seed=seed, starts=200), Question("ranking", margin=10.0), Schedule(200))
        .near()
        .any()
        for seed in range(40)
    ]
    assert sum(found) <= 2


def test_a_budget_is_never_exceeded() -> None:
    running = run(skilled(0.5, 0.5, 0.5), Question("ranking"), Schedule(100, budget=131))
    assert 48 < running.episodes <= 131


def test_a_budget_below_the_first_round_is_refused() -> None:
    with pytest.raises(ValueError, match="budget of 10 episodes"):
        Race(3, 2, Question(), Schedule(100, budget=10))


@pytest.mark.parametrize(
    "outcomes", [np.full((1, 2, 3), 0.5), np.zeros((1, 2, 2)), np.full((1, 2, 3), np.inf)]
)
def test_outcomes_that_are_not_those_of_the_round_are_refused(outcomes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected outcomes"):
        Race(3, 2, Question(), Schedule(10)).add(outcomes)


def test_evidence_of_a_pair_is_the_largest_so_far() -> None:
    outcomes = skilled(0.9, 0.5, starts=60)
    running = run(outcomes, Question("ranking"), Schedule(60))
    turns = running.turns.min()
    difference = outcomes[:turns, :, 0] - outcomes[:turns, :, 1]
    assert running.log_better[0, 1] == pytest.approx(log_evidence(difference).max())


def test_rounds_follow_from_the_outcomes_alone() -> None:
    outcomes = skilled(0.8, 0.6, 0.3)
    first, second = (run(outcomes, Question(), Schedule(100)) for _ in range(2))
    assert first.turns.tolist() == second.turns.tolist()
    assert first.cuts() == second.cuts()


@pytest.mark.parametrize("until", ["best", "groups", "ranking"])
@pytest.mark.parametrize("world", ["all equal", "near-ties of 1 point", "one best by 25 points"])
def test_races_are_hardly_ever_wrong(until: str, world: str) -> None:
    skill = worlds(policies=5)[world]
    found = [
        race(
            made_up_outcomes(skill, 60, np.random.default_rng(seed)),
            Question(until),  # type: ignore[arg-type]
            Schedule(60),
            skill.mean(axis=0),
        ).wrong
        for seed in range(40)
    ]
    # With a true chance of 5 %, 7 or more of 40 happen in 0.3 % of cases.
    assert sum(found) < 7


def test_a_level_that_promises_less_is_wrong_more_often_and_needs_fewer_episodes() -> None:
    skill = np.tile(np.array([0.6, 0.5, 0.5]), (2, 1))
    spent, wrong = {}, {}
    for alpha in (0.05, 0.9):
        question = Question("best", alpha)
        outcomes = [made_up_outcomes(skill, 60, np.random.default_rng(seed)) for seed in range(40)]
        races = [race(x, question, Schedule(60), skill[0]) for x in outcomes]
        spent[alpha], wrong[alpha] = sum(r.episodes for r in races), sum(r.wrong for r in races)
    assert spent[0.9] < spent[0.05]
    assert wrong[0.9] > wrong[0.05]


def test_the_shipped_run_is_raced_with_little_more_than_half_of_its_episodes(
    request: pytest.FixtureRequest,
) -> None:
    outcomes = stored_outcomes(request.config.rootpath / "notebooks/data/drawer_run")
    spent, told = [], 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        mixed = np.stack([outcomes[rng.permutation(50), task] for task in range(2)], axis=1)
        found = run(mixed, Question("groups"), Schedule(50))
        told += found.groups()[-1] == (16,)
        spent.append(found.episodes)
    assert told >= 4
    assert np.median(spent) <= 1000


@pytest.mark.parametrize(
    ("field", "value"), [("alpha", 0.0), ("alpha", 1.0), ("margin", 0.0), ("margin", 100.0)]
)
def test_impossible_questions_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(Question(), **{field: value})
