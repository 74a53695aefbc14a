"""Single rules and limits of the report's statistics, each with an outcome that is known from elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from test_ranking import played
from test_true_rates import rows

from real2sim.report.agreement import agreement
from real2sim.report.betting import log_mixture
from real2sim.report.judge_error import JudgeError, why_uncorrected
from real2sim.report.permutation import permutation_test
from real2sim.report.planning import policies_for_correlation, smallest_significant
from real2sim.report.prediction_powered import prediction_powered_mean
from real2sim.report.rank_violation import mmrv
from real2sim.report.ranking import rank
from real2sim.report.scopes import task_averages
from real2sim.report.several_runs import one_set_per_world


def test_capital_beyond_the_range_of_numbers_is_averaged_all_the_same() -> None:
    assert log_mixture(np.array([[2000.0], [-2000.0]])) == pytest.approx(2000 - math.log(2))


def test_simulated_outcomes_count_at_most_as_much_as_real_ones() -> None:
    # The weight of least variance would be 1.08: rates of outcomes that agree are then those of the further starts.
    same, more = np.array([0.0, 1.0] * 10), np.array([1.0] * 60 + [0.0] * 140)
    found = prediction_powered_mean(same, same, more)
    assert (found.weight, found.rate) == (1.0, pytest.approx(0.3))


def test_episodes_of_one_world_stay_in_one_set() -> None:
    frame = pd.DataFrame({"set": ["policies"] * 2, "world": ["model"] * 2})
    for table in (frame, frame.drop(columns="world")):
        kept, remarks = one_set_per_world(table)
        assert list(kept["set"]) == ["policies"] * 2
        assert remarks == []


def test_five_labels_of_each_kind_correct_rates_and_four_do_not() -> None:
    assert why_uncorrected(JudgeError("labels", "", 5, 0, 0, 5)) == ""
    assert "at least 5 of each" in why_uncorrected(JudgeError("labels", "", 4, 0, 0, 50))


def test_with_a_million_trials_the_true_gap_is_the_measured_one_with_its_interval() -> None:
    found = agreement(rows(np.array([0.1, 0.4, 0.55, 0.9]), np.array([0.2, 0.3, 0.6, 0.8]), n=10**6))
    true, plain = found.mae_true_points, found.mae_points
    assert (true.value, true.low, true.high) == pytest.approx((plain.value, plain.low, plain.high), rel=1e-4)


def test_a_correlation_is_never_shown_with_fewer_than_four_policies() -> None:
    # Fisher's z has the variance 1 / (k - 3).
    assert policies_for_correlation(0.999999) == 4


@pytest.mark.parametrize("trials", [5, 6, 8, 12, 13, 15, 19])
def test_fewest_successes_that_tell_two_policies_apart_are_scipys(trials: int) -> None:
    def p(first: int, second: int) -> float:
        return float(stats.fisher_exact([[first, trials - first], [second, trials - second]])[1])

    gaps = range(1, trials + 1)
    told = [gap for gap in gaps if any(p(k, k + gap) <= 0.05 for k in range(trials + 1 - gap))]
    assert smallest_significant(trials) == told[0]


def test_the_interval_from_few_real_trials_is_the_formulas() -> None:
    # Angelopoulos, Duchi & Zrnic (2023): variances of what the simulator does not explain and of its own starts add up.
    real, same = np.array([1.0, 1, 0, 0, 1, 0, 1, 0] * 3), np.array([1.0, 1, 0, 0, 1, 0, 0, 1] * 3)
    more = np.array([1.0, 0, 1, 1, 0, 1] * 3)
    found = prediction_powered_mean(real, same, more)
    rest = np.append(
        real - found.weight * same, np.array([0, 1, 0, 1]) - found.weight * np.array([0, 0, 1, 1])
    )
    error = math.sqrt(rest.var(ddof=1) / 24 + found.weight**2 * np.append(same, more).var() / 18)
    low, high = stats.t.interval(0.95, 23, found.rate, error)
    assert 0 < low < high < 1
    assert found.weight > 0.2
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_of_the_six_orders_of_three_policies_is_as_bad_as_their_reverse() -> None:
    found = permutation_test(np.array([0.1, 0.5, 0.8]), np.array([0.9, 0.4, 0.2]))
    assert (found.p, found.p_opposite) == (1.0, pytest.approx(1 / 6))


def test_violations_within_three_tasks_are_those_of_every_pair_of_a_task() -> None:
    rng = np.random.default_rng(4)
    sim, real = rng.integers(0, 11, (2, 12)) / 10
    tasks = np.repeat(["a", "b", "c"], 4)
    worst = [
        max(
            abs(real[i] - real[j]) if (sim[i] > sim[j]) != (real[i] > real[j]) else 0.0
            for j in range(12)
            if tasks[j] == tasks[i]
        )
        for i in range(12)
    ]
    assert mmrv(sim, real, tasks) == pytest.approx(np.mean(worst))
    assert mmrv(sim, real, tasks) != pytest.approx(mmrv(sim, real))


def test_noise_of_a_mean_over_three_tasks_is_a_ninth_of_the_sum() -> None:
    table = pd.DataFrame({"set": "policies", "policy": "a", "family": "a", "task": ["x", "y", "z"]})
    for side, rate, n in (("sim", (0.5, 0.2, 0.9), 21.0), ("real", (0.4, 0.1, 0.8), 11.0)):
        counts = {
            "rate": list(rate),
            "episodes": n,
            "effective": n,
            "successes": [n * value for value in rate],
        }
        table = table.assign(**{f"{side}_{name}": values for name, values in counts.items()})
    found = task_averages(table).iloc[0]
    assert found["sim_noise"] == pytest.approx((0.25 + 0.16 + 0.09) / 20 / 9)
    assert found["real_noise"] == pytest.approx((0.24 + 0.09 + 0.16) / 10 / 9)


@pytest.mark.parametrize(("alone", "groups"), [(5, 1), (6, 2)])
def test_policies_differ_where_five_percent_of_fair_coins_would(alone: int, groups: int) -> None:
    p = mcnemar([[3, alone], [0, 3]], exact=True).pvalue
    assert (p <= 0.05) == (groups == 2) and p <= 0.07
    a, b = [1] * (3 + alone) + [0] * 3, [1] * 3 + [0] * (3 + alone)
    assert len(set(rank(played({"a": a, "b": b})).table["letters"])) == groups
