from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from real2sim.report.agreement import agreement
from real2sim.report.correlation import kendall, pearson, simpler_pearson, spearman
from real2sim.report.jackknife import cluster_t_interval, correlation_interval, leave_one_out
from real2sim.report.noise_ceiling import noise_ceiling
from real2sim.report.permutation import permutation_test
from real2sim.report.published import simpler_comparison
from real2sim.report.rank_violation import mmrv, mmrv_interval
from real2sim.report.scopes import task_averages

EXPECTED = pd.read_csv(
    Path(__file__).parents[1] / "data" / "report" / "simpler_expected_metrics.csv", dtype=str
)
rates = st.integers(2, 7).flatmap(
    lambda n: st.tuples(*[arrays(float, n, elements=st.floats(0, 1, width=16))] * 2)
)


def rows(sim, real, n=50, families=None, tasks=None):
    k = len(sim)
    sim, real = np.asarray(sim, float), np.asarray(real, float)
    frame = pd.DataFrame({"set": "policies", "policy": [f"p{i}" for i in range(k)], "task": tasks or "x"})
    frame["family"] = families or frame["policy"]
    for world, rate in (("sim", sim), ("real", real)):
        frame[f"{world}_rate"], frame[f"{world}_successes"], frame[f"{world}_episodes"] = (
            rate,
            rate * n,
            float(n),
        )
    return frame


@pytest.mark.parametrize("case", EXPECTED.index, ids=[f"{r.case}-{r.task}" for r in EXPECTED.itertuples()])
def test_simplers_printed_numbers_are_reproduced(case):
    row = EXPECTED.loc[case]
    sim, real = (np.array(row[side].split(), float) for side in ("sim_rates", "real_rates"))
    assert mmrv(sim, real) == pytest.approx(float(row["mmrv"]), abs=1e-9)
    assert simpler_pearson(sim, real) == pytest.approx(float(row["pearson"]), abs=1e-9)


def test_shipped_tables_give_simplers_numbers_per_task_and_on_average():
    table = simpler_comparison()
    published = EXPECTED[EXPECTED["case"] == "published"].set_index("task")
    for task, group in table.groupby("task"):
        found = agreement(group)
        assert found.mmrv.value == pytest.approx(float(published.loc[task, "mmrv"]), abs=1e-9)
        assert found.pearson_simpler == pytest.approx(float(published.loc[task, "pearson"]), abs=1e-9)
    for robot, case in (
        ("google_robot", "google_robot_task_average"),
        ("widowx_bridge", "widowx_task_average"),
    ):
        expected = EXPECTED.set_index("case").loc[case]
        found = agreement(task_averages(table[table["set"] == robot]))
        assert found.mmrv.value == pytest.approx(float(expected["mmrv"]), abs=1e-9)
        assert found.pearson_simpler == pytest.approx(float(expected["pearson"]), abs=1e-9)


def test_swapping_the_arguments_of_mmrv_gives_another_number():
    sim, real = np.array([0.3, 0.2]), np.array([0.4, 0.8])
    assert mmrv(sim, real) == pytest.approx(0.4)
    assert mmrv(real, sim) == pytest.approx(0.1)


def test_within_two_tasks_no_policy_is_ranked_against_one_of_the_other_task():
    # On x the order is right; on y it is turned round, a violation of 0.2 for both.  Over all points y's first policy,
    # real 0.3, is also simulated below both of x: 0.1 for x's second one and 0.05 for its first.
    table = rows([0.9, 0.8, 0.1, 0.2], [0.25, 0.2, 0.3, 0.1], tasks=["x", "x", "y", "y"])
    found = agreement(table.assign(policy=["a", "b"] * 2, family=["a", "b"] * 2))
    assert found.mmrv_within.value == pytest.approx((0 + 0 + 0.2 + 0.2) / 4)
    assert found.mmrv.value == pytest.approx((0.05 + 0.1 + 0.2 + 0.2) / 4)


def test_perfect_simulator_has_no_rank_violation_and_a_reversed_one_the_worst():
    real = np.array([0.1, 0.5, 0.9])
    assert mmrv(real, real) == 0
    others = [mmrv(np.array(order), real) for order in permutations(real)]
    assert mmrv(real[::-1], real) == max(others)


def test_within_tasks_an_easy_task_is_not_ranked_against_a_hard_one():
    # Each task is ordered perfectly, but simulation takes the second task for the easier one.
    sim, real = np.array([0.3, 0.2, 0.8, 0.7]), np.array([0.9, 0.8, 0.2, 0.1])
    tasks = np.array(["x", "x", "y", "y"])
    assert mmrv(sim, real) > 0.6
    assert mmrv(sim, real, tasks) == 0


@given(rates)
def test_mmrv_lies_between_0_and_the_spread_of_real_rates_and_ignores_order(pair):
    sim, real = pair
    value = mmrv(sim, real)
    assert 0 <= value <= np.ptp(real) + 1e-12
    assert mmrv(sim[::-1], real[::-1]) == pytest.approx(value)


@given(rates)
def test_mmrv_equals_a_slow_loop(pair):
    sim, real = pair
    worst = []
    for i in range(len(sim)):
        found = [abs(real[i] - real[j]) for j in range(len(sim)) if (sim[i] > sim[j]) != (real[i] > real[j])]
        worst.append(max(found, default=0))
    assert mmrv(sim, real) == pytest.approx(np.mean(worst))


@given(rates)
def test_correlations_equal_scipys(pair):
    sim, real = pair
    if np.ptp(sim) < 1e-3 or np.ptp(real) < 1e-3:
        return
    assert pearson(sim, real) == pytest.approx(stats.pearsonr(sim, real).statistic, abs=1e-9)
    assert spearman(sim, real) == pytest.approx(stats.spearmanr(sim, real).statistic, abs=1e-9)
    assert kendall(sim, real) == pytest.approx(stats.kendalltau(sim, real).statistic, abs=1e-9)


def test_constant_rates_have_no_correlation():
    for function in (pearson, spearman, kendall):
        assert math.isnan(function(np.array([0.4, 0.4]), np.array([0.1, 0.9])))


def test_permutation_p_equals_a_slow_count_of_all_orderings():
    rng = np.random.default_rng(3)
    sim, real = rng.random((5, 2)), rng.random((5, 2))
    seen = pearson(sim, real)
    count = sum(pearson(sim, real[list(order)]) >= seen - 1e-12 for order in permutations(range(5)))
    found = permutation_test(sim, real)
    assert found.p == pytest.approx(count / 120)
    assert found.floor == pytest.approx(1 / 120)
    assert found.exact


def test_perfect_order_reaches_the_floor_of_the_permutation_test():
    real = np.array([0.1, 0.3, 0.5, 0.9])
    assert permutation_test(real, real).p == pytest.approx(1 / 24)


def test_many_policies_draw_orderings_and_say_so():
    real = np.linspace(0, 1, 12)
    found = permutation_test(real, real)
    assert not found.exact
    assert found.p == pytest.approx(1e-5)


def test_jackknife_interval_equals_that_of_pseudo_values():
    # Leaving one of five points out, each r written out with numpy; Efron & Stein's sum and t = 2.776 with 4 degrees.
    x, y = np.array([0.1, 0.3, 0.5, 0.6, 0.9]), np.array([0.2, 0.1, 0.6, 0.5, 0.8])
    r = np.corrcoef(x, y)[0, 1]
    without = np.array([np.corrcoef(np.delete(x, i), np.delete(y, i))[0, 1] for i in range(5)])
    pseudo = 5 * np.arctanh(r) - 4 * np.arctanh(without)
    error = np.sqrt(np.var(pseudo, ddof=1) / 5)
    expected = np.tanh(np.arctanh(r) + np.array([-1, 1]) * 2.7764451 * error)
    found = correlation_interval(r, leave_one_out(pearson, x, y, np.arange(5)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_run_is_left_out_with_all_its_checkpoints_and_tasks():
    x, y = np.array([0.1, 0.2, 0.5, 0.6, 0.9, 0.3]), np.array([0.2, 0.1, 0.6, 0.5, 0.8, 0.9])
    families = np.array(["a", "a", "b", "b", "c", "d"])
    without = leave_one_out(pearson, x, y, families)
    assert len(without) == 4
    assert without[0] == pytest.approx(np.corrcoef(x[2:], y[2:])[0, 1])


def test_no_interval_of_r_below_four_independent_runs_or_on_a_line():
    sim = [0.1, 0.4, 0.5, 0.9]
    three = agreement(rows(sim[:3], [0.2, 0.3, 0.6])).pearson
    assert math.isnan(three.low) and "at least 4" in three.unsupported
    line = agreement(rows(sim, sim)).pearson
    assert math.isnan(line.low) and "perfect" in line.unsupported


def test_two_checkpoints_of_one_run_are_spoken_of_as_one():
    found = agreement(rows([0.1, 0.5], [0.2, 0.4], families=["run", "run"])).mae_points
    assert found.unsupported == "an interval needs at least 3 independent training runs, there is 1"


def test_rank_correlations_have_no_interval_below_eight_runs():
    rng = np.random.default_rng(0)
    for k in (7, 8):
        sim = rng.random(k)
        found = agreement(rows(sim, np.clip(sim + rng.normal(0, 0.3, k), 0, 1)))
        assert math.isnan(found.spearman.low) == math.isnan(found.kendall.low) == (k < 8)


def test_checkpoints_of_one_run_count_once():
    real = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9]
    alone = agreement(rows(real[::1], np.array(real) ** 1.2))
    together = agreement(rows(real, np.array(real) ** 1.2, families=["run", "run", "run", "b", "c", "d"]))
    assert alone.families == 6
    assert together.families == 4
    assert together.permutation.floor == pytest.approx(1 / 24)
    assert together.pearson.high - together.pearson.low > alone.pearson.high - alone.pearson.low


def test_leaving_one_policy_out_shows_a_single_policy_carrying_the_correlation():
    found = agreement(rows([0.2, 0.25, 0.2, 0.22, 0.9], [0.3, 0.1, 0.2, 0.28, 0.9]))
    assert found.pearson.value > 0.9
    assert found.pearson.drop_low < 0.2


@pytest.mark.parametrize(
    ("sim", "real", "words"),
    [
        ([], [], "no policy"),
        ([0.5], [0.4], "one policy alone"),
        ([0.5, 0.5, 0.5], [0.1, 0.2, 0.3], "simulated rates are equal"),
        ([0.1, 0.2, 0.3], [0.5, 0.5, 0.5], "real rates are equal"),
    ],
)
def test_what_cannot_be_computed_says_why(sim, real, words):
    found = agreement(rows(sim, real))
    assert math.isnan(found.pearson.value)
    assert words in found.pearson.unsupported


def test_two_tasks_of_one_policy_are_no_correlation():
    """Two points always lie on a line."""
    tasks = rows([0.6, 0.5], [0.5, 0.55]).assign(policy="only", family="only", task=["push", "lift"])
    found = agreement(tasks)
    for measure in (found.pearson, found.spearman, found.kendall, found.pearson_true):
        assert math.isnan(measure.value)
        assert "one policy alone" in measure.unsupported
    assert found.mae_points.value == pytest.approx(7.5)


def test_mean_gaps_are_the_plain_means_and_lie_in_their_intervals():
    sim, real = np.array([0.2, 0.5, 0.9, 0.4]), np.array([0.3, 0.4, 0.95, 0.2])
    found = agreement(rows(sim, real))
    assert found.mae_points.value == pytest.approx(11.25)
    assert found.bias_points.value == pytest.approx(3.75)
    assert found.mae_points.low <= found.mae_points.value <= found.mae_points.high


def test_interval_of_a_mean_without_clusters_is_students():
    values = np.array([1.0, 4.0, 2.0, 7.0, 3.0])
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    np.testing.assert_allclose(cluster_t_interval(values, np.arange(5)), expected)


def test_mmrv_interval_excludes_0_only_when_a_violation_is_certain():
    few = mmrv_interval(
        (np.array([6.0, 4.0]), np.array([10.0, 10.0])), (np.array([4.0, 6.0]), np.array([10.0, 10.0]))
    )
    assert few[0] == 0
    n = np.array([1000.0, 1000.0])
    low, high = mmrv_interval((np.array([800.0, 200.0]), n), (np.array([200.0, 800.0]), n))
    assert 0.4 < low < 0.6 < high < 0.8


def test_noise_ceiling_rises_to_perfect_with_many_trials():
    rate = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    few = noise_ceiling(10 * rate, np.full(5, 10.0))
    many = noise_ceiling(1e5 * rate, np.full(5, 1e5))
    assert few.pearson < many.pearson
    assert few.mmrv_high > 0
    assert many.mmrv_high == 0
    assert many.pearson_low > 0.999


def test_twenty_unpaired_episodes_give_even_a_perfect_simulator_a_rank_violation():
    rate = np.linspace(0.1, 0.9, 8)
    found = noise_ceiling(20 * rate, np.full(8, 20.0), np.full(8, 20.0))
    assert found.mmrv > 0.03


def test_without_counts_there_is_no_ceiling():
    assert noise_ceiling(np.array([1.0, np.nan]), np.array([10.0, np.nan])) is None
