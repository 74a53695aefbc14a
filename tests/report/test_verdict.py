from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_agreement_measures import rows

from benchmarks.report_headlines import FALSE, shares
from real2sim.report.agreement import agreement
from real2sim.report.gaps import policy_pairs
from real2sim.report.judge_error import JudgeError
from real2sim.report.rates import wilson
from real2sim.report.verdict import (
    CHANCE_JUDGE,
    LOOKS_RIGHT,
    NO_EVIDENCE,
    NO_ORDER,
    RANKS,
    REVERSED,
    SEPARATES,
    TOO_FEW,
    upper_half_agrees,
    verdict,
)
from real2sim.report.verdict_words import chance_words


def judged(sim, real, n=400, judge=None, **more):
    table = rows(sim, real, n=n, **more)
    for world in ("sim", "real"):
        table[f"{world}_low"], table[f"{world}_high"] = wilson(
            table[f"{world}_successes"], table[f"{world}_episodes"]
        )
    return verdict(agreement(table), policy_pairs(table), "real", judge=judge)


LADDER = [0.1, 0.22, 0.35, 0.47, 0.6, 0.7, 0.81, 0.9]
NOISY = [0.12, 0.2, 0.36, 0.5, 0.58, 0.71, 0.8, 0.92]


def test_a_good_simulator_with_many_trials_ranks_as_reality_does():
    found = judged(NOISY, LADDER)
    assert (found.grade, found.headline) == ("good", RANKS)
    assert "costs a typical policy at most" in found.paragraph


def test_few_trials_do_not_prove_the_order_of_close_policies():
    assert judged(NOISY, LADDER, n=12).headline == SEPARATES


def test_a_reversed_better_half_is_not_ranked_as_in_reality():
    sim = NOISY[:4] + NOISY[4:][::-1]
    found = judged(sim, LADDER)
    assert found.headline in (SEPARATES, LOOKS_RIGHT)


def test_one_wrong_costly_pair_is_named():
    sim = [0.1, 0.3, 0.3, 0.5, 0.45, 0.75, 0.62, 0.95]
    found = judged(sim, LADDER)
    assert found.headline == SEPARATES
    assert "on x, p4 is 13 points better than p3 in reality" in found.paragraph


def test_order_without_any_certain_pair_is_not_ranking():
    sim, real = (
        np.linspace(0.5, 0.53, 8),
        np.linspace(0.5, 0.53, 8) + np.array([0, 1, 0, 1, 0, 1, 0, 1]) / 1000,
    )
    found = judged(sim, real, n=1000)
    assert found.headline != RANKS
    assert "too few to tell any of them apart" in found.paragraph


def test_three_training_runs_are_too_few_and_four_can_only_look_right():
    assert judged(LADDER[:3], NOISY[:3]).headline == TOO_FEW
    found = judged([0.1, 0.3, 0.55, 0.6], [0.1, 0.5, 0.55, 0.8])
    assert found.headline == LOOKS_RIGHT
    assert "might show" in found.paragraph


def test_many_checkpoints_of_few_runs_are_too_few():
    found = judged(NOISY, LADDER, families=list("aaabbbcc"))
    assert found.headline == TOO_FEW
    assert "8 policies from 3 independent training runs" in found.paragraph
    assert "1 time in 6" in found.paragraph


def test_a_reversed_simulator_is_said_to_be_reversed():
    found = judged(LADDER[::-1], NOISY)
    assert (found.grade, found.headline) == ("bad", REVERSED)
    assert "an order as bad as this would come about by luck less than 1 time in 10 000" in found.paragraph


def test_an_unrelated_simulator_is_no_evidence():
    found = judged([0.5, 0.2, 0.8, 0.3, 0.6, 0.3, 0.7, 0.4], LADDER)
    assert (found.grade, found.headline) == ("bad", NO_EVIDENCE)


def test_a_judge_at_chance_is_said_before_any_ranking():
    coin = JudgeError("labels", "all tasks", 25, 25, 25, 25)
    found = judged(NOISY, LADDER, judge=coin)
    assert (found.grade, found.headline) == ("unknown", CHANCE_JUDGE)
    assert "100 labelled episodes" in found.paragraph


def test_a_poor_judge_does_not_rank_and_a_good_one_does():
    assert (
        judged(NOISY, LADDER, judge=JudgeError("labels", "all tasks", 140, 60, 60, 140)).headline == SEPARATES
    )
    assert judged(NOISY, LADDER, judge=JudgeError("labels", "all tasks", 190, 10, 10, 190)).headline == RANKS


def test_equal_rates_have_no_order():
    found = judged([0.5, 0.5, 0.5, 0.5], LADDER[:4])
    assert found.headline == NO_ORDER
    assert "All simulated rates are equal" in found.paragraph


def test_large_gaps_are_mixed_even_if_the_order_is_right():
    found = judged([rate / 2 for rate in NOISY], LADDER)
    assert (found.grade, found.headline) == ("mixed", RANKS)
    assert "mostly too low; do not quote" in found.paragraph


def test_the_better_half_of_each_task_decides_whether_it_agrees():
    table = rows([0.1, 0.2, 0.8, 0.7], [0.1, 0.2, 0.7, 0.8])
    for world in ("sim", "real"):
        table[f"{world}_low"], table[f"{world}_high"] = wilson(
            table[f"{world}_successes"], table[f"{world}_episodes"]
        )
    assert not upper_half_agrees(policy_pairs(table))
    swapped = table.assign(sim_rate=[0.2, 0.1, 0.7, 0.8])
    assert upper_half_agrees(policy_pairs(swapped))
    assert not upper_half_agrees(pd.DataFrame(columns=["task", "better", "worse"]))


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.00001, "less than 1 time in 10 000"), (0.025, "1 time in 40"), (0.5, "1 time in 2"), (0.8, "80 times in 100"),
     (1.0, "more than 99 times in 100")],
)  # fmt: skip
def test_luck_in_words(p, words):
    assert chance_words(p) == words


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["ladder", "random"])
@pytest.mark.parametrize(("k", "n"), [(4, 100), (8, 50), (16, 100)])
@pytest.mark.parametrize("world", ["top half reversed", "unrelated", "near-ties"])
def test_a_headline_is_false_at_most_one_time_in_twenty(world, k, n, layout):
    draws = 100
    found = shares(world, k, n, draws, layout)
    false = sum(found[headline] for headline in FALSE[world])
    assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


@pytest.mark.slow
@pytest.mark.parametrize(("k", "n"), [(6, 100), (8, 50), (16, 100)])
def test_a_simulator_just_too_noisy_is_rarely_said_to_rank_as_reality_does(k, n):
    draws = 100
    assert shares("just too noisy", k, n, draws)[RANKS] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


@pytest.mark.slow
@pytest.mark.parametrize(("k", "n"), [(8, 50), (8, 100), (16, 50), (16, 100)])
def test_a_good_simulator_is_told_so_with_enough_trials(k, n):
    assert shares("good", k, n, 60)[RANKS] > 0.5
