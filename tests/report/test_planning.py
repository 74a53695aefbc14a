"""Plans against published numbers, statsmodels and simulation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep, proportion_effectsize

from real2sim.report.planning import (
    PlanConfig,
    detectable_difference,
    fisher_power,
    fisher_rejects,
    make_plan,
    plan_lines,
    policies_for_correlation,
    race_starts,
    smallest_significant,
)


def test_trials_for_10_against_20_percent_are_the_published_219() -> None:
    """Fleiss, Tytun & Ury (1980); 199 without the correction for continuity."""
    plan = make_plan(PlanConfig(difference=10, rate=15))
    assert plan.unpaired == 219
    assert power_proportions_2indep(0.1, 0.1, 199).power == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize(("r", "published"), [(0.3, 85), (0.5, 30), (0.1, 783)])
def test_policies_for_a_correlation_are_the_published_numbers(r: float, published: int) -> None:
    """Fisher's z, level 5 % and power 80 %: table 6C of Hulley et al., Designing Clinical Research."""
    assert abs(policies_for_correlation(r) - published) <= 1


def test_five_of_twenty_are_the_fewest_that_fisher_can_tell_from_none() -> None:
    assert stats.fisher_exact([[0, 20], [5, 15]])[1] <= 0.05 < stats.fisher_exact([[0, 20], [4, 16]])[1]
    assert smallest_significant(20) == 5


@pytest.mark.parametrize("trials", [3, 7, 20])
def test_outcomes_that_are_told_apart_are_scipys(trials: int) -> None:
    rejects = fisher_rejects(trials, 0.05)
    for first in range(trials + 1):
        for second in range(trials + 1):
            p = stats.fisher_exact([[first, trials - first], [second, trials - second]])[1]
            assert rejects[first, second] == (p <= 0.05)


def test_three_trials_tell_nothing_apart() -> None:
    assert smallest_significant(3) is None
    plan = make_plan(PlanConfig(trials=3))
    assert plan.detectable is None
    assert "no outcome whatever" in plan_lines(plan)
    assert "no difference is found" in plan_lines(plan)


def test_power_is_that_of_simulated_trials() -> None:
    rng = np.random.default_rng(0)
    rejects = fisher_rejects(30, 0.05)
    first, second = rng.binomial(30, 0.4, 20_000), rng.binomial(30, 0.75, 20_000)
    assert fisher_power(30, 0.4, 0.75) == pytest.approx(rejects[first, second].mean(), abs=0.01)


def test_power_nears_the_normal_one_with_many_trials() -> None:
    effect = proportion_effectsize(0.6, 0.5)
    normal = NormalIndPower().power(effect, 200, 0.05)
    assert fisher_power(200, 0.5, 0.6) == pytest.approx(normal, abs=0.05)


def test_the_detectable_difference_has_the_power_that_was_asked() -> None:
    gap = detectable_difference(50, 0.5) / 100
    assert fisher_power(50, 0.5 - gap / 2, 0.5 + gap / 2) == pytest.approx(0.8, abs=0.001)
    assert detectable_difference(200, 0.5) < 100 * gap


def test_near_certain_success_the_difference_extends_downwards() -> None:
    assert 0 < detectable_difference(20, 1.0) < detectable_difference(20, 0.5)


def test_shared_starts_and_more_policies_are_accounted_for() -> None:
    apart = make_plan(PlanConfig(difference=20, policies=16, discordance=30))
    assert apart.paired < make_plan(PlanConfig(difference=20, policies=16)).paired < 1.2 * apart.unpaired
    assert apart.paired_family > 1.5 * apart.paired


def test_a_race_takes_about_as_long_as_is_planned() -> None:
    from real2sim.report.betting import log_evidence

    rng = np.random.default_rng(0)
    for first, second in ((0.7, 0.5), (0.95, 0.6)):
        planned = race_starts(first - second, first * (1 - second) + second * (1 - first), 0.05 / 30)
        x = (rng.random((6 * planned, 1, 200)) < first).astype(float) - (
            rng.random((6 * planned, 1, 200)) < second
        )
        stopped = (log_evidence(x) >= np.log(30 / 0.05)).argmax(axis=0) + 1
        assert np.median(stopped) == pytest.approx(planned, rel=0.2)


def test_a_race_of_sixteen_policies_shares_its_level_among_neighbours_in_both_directions() -> None:
    # 0.29 of the starts are won and 0.11 lost, so the best share to bet (Kelly 1956) is 0.18 / 0.4 = 0.45.
    growth = 0.29 * np.log(1.45) + 0.11 * np.log(0.55)
    starts = np.ceil((np.log(2 * 15 / 0.05) + np.log(10) / 2) / growth)
    assert make_plan(PlanConfig(difference=18, discordance=40, policies=16)).race == starts


def test_a_race_whose_capital_is_not_expected_to_grow_takes_more_than_a_million() -> None:
    # With 25.11 % won and 24.89 % lost even the smallest share bet, 0.05, loses on average.
    assert 0.2511 * np.log(1.05) + 0.2489 * np.log(0.95) < 0
    lines = plan_lines(make_plan(PlanConfig(difference=0.22, discordance=50))).splitlines()
    assert [line.split(": ")[1] for line in lines if "`real2sim rank`" in line] == ["more than a million"]


@pytest.mark.parametrize("difference", range(1, 101))
def test_one_policy_may_win_every_start_that_just_one_wins(difference: int) -> None:
    PlanConfig(difference=difference, discordance=difference)
    PlanConfig(difference=difference, rate=difference / 2)
    PlanConfig(difference=difference, discordance=100)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"difference": 0.0}, "difference above 0"),
        ({"difference": 30.0, "rate": 90.0}, "would have rates of"),
        ({"policies": 1}, "at least 2"),
        ({"trials": 1}, "at least 2"),
        ({"power": 1.0}, "power must lie"),
        ({"discordance": 5.0}, "discordance must lie"),
        ({"discordance": 100.5}, "discordance must lie"),
        ({"correlation": 0.5, "correlation_above": 0.6}, "correlation-above"),
    ],
)
def test_impossible_plans_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PlanConfig(**settings)  # type: ignore[arg-type]


def test_a_power_below_the_chance_of_a_mistake_is_refused() -> None:
    with pytest.raises(ValueError, match=r"power is 1e-09 and alpha .*; expected a power above"):
        PlanConfig(power=1e-9)


def test_many_trials_are_planned_at_once() -> None:
    began = time.monotonic()
    rejects = fisher_rejects(400, 0.05)
    assert time.monotonic() - began < 20
    for first, second in ((200, 228), (200, 229), (0, 6), (0, 5), (100, 130)):
        p = stats.fisher_exact([[first, 400 - first], [second, 400 - second]])[1]
        assert rejects[first, second] == (p <= 0.05)
