"""Single rules and limits of the report's statistics, each with an outcome that is known from elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_true_rates import rows

from real2sim.report.agreement import agreement
from real2sim.report.betting import log_mixture
from real2sim.report.judge_error import JudgeError, why_uncorrected
from real2sim.report.planning import policies_for_correlation, smallest_significant
from real2sim.report.prediction_powered import prediction_powered_mean
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
    assert (true.value, true.low, true.high) == pytest.approx((plain.value, plain.low, plain.high), rel=0.01)


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
