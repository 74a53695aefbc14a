"""Single numbers of the report's arithmetic, each known from a closed form, a library or a count of all outcomes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from test_gaps import compared, table
from test_ranking import played

from real2sim.report.correlation import spearman
from real2sim.report.gaps import agreement_by_length, episode_agreement, pair_episodes, policy_pairs
from real2sim.report.jackknife import correlation_interval, leave_one_out, size_interval
from real2sim.report.judge_error import JudgeError, balanced_accuracy_interval, rogan_gladen
from real2sim.report.noise_ceiling import noise_ceiling
from real2sim.report.prediction_powered import prediction_powered_mean
from real2sim.report.rank_violation import mmrv, mmrv_interval
from real2sim.report.ranking import posterior_draws, rank


def test_corrected_rate_holds_its_level_where_the_judge_errs_on_failures_alone():
    # Every outcome of 40 episodes, 20 labelled successes and 20 labelled failures, added up.
    rate, se, sp, n, labels = 0.95, 0.8, 0.98, 40, 20
    k, counts = np.arange(n + 1), np.arange(labels + 1)
    seen = stats.binom.pmf(k, n, rate * se + (1 - rate) * (1 - sp))
    held = 0.0
    for good in counts:
        for bad in counts:
            weight = stats.binom.pmf(good, labels, se) * stats.binom.pmf(bad, labels, sp)
            judge = JudgeError("", "", int(good), labels - int(good), labels - int(bad), int(bad))
            if weight < 1e-9 or judge.sensitivity + judge.specificity <= 1:
                continue
            _, low, high = rogan_gladen(k, np.full(n + 1, n), judge)
            held += weight * float((seen * ((low <= rate) & (rate <= high))).sum())
    assert 0.94 < held < 0.985


def test_interval_of_the_corrected_rate_by_the_papers_formula():
    # Lang & Reiczigel (2014), eq. 9 to 13, in steps: 30 of 100 judged success; 45 of 50 successes and 70 of 80
    # failures recognised; z = 1.96.
    z = stats.norm.ppf(0.975)
    n, se_n, sp_n = 100 + z**2, 52, 82
    q, se, sp = (30 + z**2 / 2) / n, 46 / 52, 71 / 82
    p = (q + sp - 1) / (se + sp - 1)
    shift = 2 * z**2 * (p * se * (1 - se) / se_n - (1 - p) * sp * (1 - sp) / sp_n)
    assert shift < 0
    variance = q * (1 - q) / n + p**2 * se * (1 - se) / se_n + (1 - p) ** 2 * sp * (1 - sp) / sp_n
    half = z * math.sqrt(variance) / (se + sp - 1)
    _, low, high = rogan_gladen(np.array([30.0]), np.array([100.0]), JudgeError("", "", 45, 5, 10, 70))
    assert (low[0], high[0]) == (pytest.approx(p + shift - half), pytest.approx(p + shift + half))


def test_balanced_accuracy_adds_half_widths_as_squares():
    low, high = balanced_accuracy_interval(JudgeError("", "", 45, 5, 10, 70))
    a, b = proportion_confint(45, 50, method="wilson"), proportion_confint(70, 80, method="wilson")
    assert low == pytest.approx((0.9 + 0.875) / 2 - math.hypot(0.9 - a[0], 0.875 - b[0]) / 2)
    assert high == pytest.approx((0.9 + 0.875) / 2 + math.hypot(a[1] - 0.9, b[1] - 0.875) / 2)


def test_spearmans_interval_is_that_of_the_pseudo_values():
    x, y = np.array([1, 2, 3, 4, 5, 6, 7, 8.0]), np.array([2, 1, 4, 3, 8, 5, 7, 6.0])
    rho = stats.spearmanr(x, y).statistic
    without = [stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(8)]
    pseudo = 8 * np.arctanh(rho) - 7 * np.arctanh(without)
    half = stats.t.ppf(0.975, 7) * np.std(pseudo, ddof=1) / math.sqrt(8)
    found = correlation_interval(spearman(x, y), leave_one_out(spearman, x, y, np.arange(8)))
    np.testing.assert_allclose(found, np.tanh(np.arctanh(rho) + np.array([-half, half])))


def test_size_interval_is_the_delta_method_on_the_logarithm():
    sizes = np.array([3.0, 8.0, 5.0, 4.0])
    half = stats.t.ppf(0.975, 3) * stats.sem(sizes) / 5
    np.testing.assert_allclose(size_interval(sizes, np.arange(4)), [5 * math.exp(-half), 5 * math.exp(half)])


def test_a_perfect_simulators_gap_is_that_of_its_own_episodes():
    # Real rates are known to a half point, so only the 100 simulated episodes blur: sqrt(2/pi * p (1 - p) / n).
    real = np.full(6, 10_000.0)
    found = noise_ceiling(real / 2, real, np.full(6, 100.0))
    assert found.mae_points == pytest.approx(100 * math.sqrt(2 / math.pi * 0.25 / 100), rel=0.05)
    unlimited = noise_ceiling(real / 2, real)
    assert unlimited.mae_points == pytest.approx(100 * math.sqrt(2 / math.pi * 0.25 / 10_000), rel=0.05)


def test_a_perfect_simulators_real_trials_are_drawn_without_bias():
    # 400 cells of 5 of 5: the mean of |trials / 5 - truth| over the posterior Beta(5.5, 0.5) and five new trials.
    grid = stats.beta(5.5, 0.5).ppf((np.arange(20_000) + 0.5) / 20_000)
    expected = sum((stats.binom.pmf(j, 5, grid) * np.abs(j / 5 - grid)).mean() for j in range(6))
    found = noise_ceiling(np.full(400, 5.0), np.full(400, 5.0))
    assert found.mae_points == pytest.approx(100 * expected, rel=0.03)


def test_a_perfect_simulators_correlation_is_the_attenuated_one():
    # Reliability of a side: var(p) / (var(p) + mean p (1 - p) / n).
    rate = np.linspace(0.02, 0.98, 200)
    n = np.full(200, 30.0)
    spread, blur = np.var(rate), np.mean(rate * (1 - rate)) / 30
    found = noise_ceiling(np.round(1e6 * rate), np.full(200, 1e6), n)
    assert found.pearson == pytest.approx(math.sqrt(spread / (spread + blur)), abs=0.01)


def test_lower_end_of_mmrv_uses_intervals_that_all_hold_at_once():
    # Four rates at once: each at level 0.95^(1/4).
    n = np.array([1000.0, 1000.0])
    alpha = 1 - 0.95 ** (1 / 4)
    least = (
        proportion_confint(800, 1000, alpha, "wilson")[0] - proportion_confint(200, 1000, alpha, "wilson")[1]
    )
    low, _ = mmrv_interval((np.array([800.0, 200.0]), n), (np.array([200.0, 800.0]), n))
    assert low == pytest.approx(least)


def test_upper_end_of_mmrv_of_two_reversed_policies_is_that_of_their_difference():
    # Two policies, simulation certainly reversed: MMRV is the difference of the real rates, 0.8 - 0.4.
    n = np.full(2, 2000.0)
    deviation = np.sqrt((0.8 * 0.2 + 0.4 * 0.6) / 2000)
    _, high = mmrv_interval((0.1 * n * [0, 9], n), (np.array([1600.0, 800.0]), n), draws=40_000)
    assert high == pytest.approx(0.4 + 1.96 * deviation, abs=0.003)


def test_ties_count_for_the_higher_policy_in_the_code_and_for_the_lower_one_in_the_paper():
    # p0 and p1 are tied in simulation; in reality p2 lies between them and is turned round with p1.
    sim, real = np.array([0.5, 0.5, 0.4]), np.array([0.9, 0.3, 0.6])
    # Code (>): p0 0.6 (with p1), p1 0.3 and p2 0.3 (with each other).  Paper (<): p0 0, p1 0.6, p2 0.3.
    assert mmrv(sim, real) == pytest.approx((0.6 + 0.3 + 0.3) / 3)
    assert mmrv(sim, real, ties="lower") == pytest.approx((0.0 + 0.6 + 0.3) / 3)


def test_expected_agreement_comes_from_both_rates():
    # Simulation succeeds 3 times in 4, reality 1 time in 4: 3/4 * 1/4 + 1/4 * 3/4.
    pairs = pair_episodes(table([1, 1, 1, 0]), table([1, 0, 0, 0])).pairs
    row = episode_agreement(pairs).iloc[0]
    assert row["chance"] == pytest.approx(0.375)
    assert (row["false_success"], row["false_failure"], row["same"]) == (2, 0, 2)


def test_lengths_share_the_error():
    # 84 of 100: the 95 % interval ends below 0.90, the one at 0.95^(1/5) does not.
    assert (
        proportion_confint(84, 100, 0.05, "wilson")[1]
        < 0.9
        < proportion_confint(84, 100, 1 - 0.95**0.2, "wilson")[1]
    )
    steps = [5 * (i // 100 + 1) for i in range(500)]
    sim = table([1] * 500, steps=steps)
    real = table([1] * 400 + [1] * 84 + [0] * 16)
    assert agreement_by_length(pair_episodes(sim, real).pairs).horizon == 25


def test_a_policy_is_ranked_by_its_mean_over_tasks():
    # 10 of 10 on one task and 0 of 30 on the other is 0.5, not 0.25.
    episodes = pd.concat(
        [played({"a": [1] * 10, "b": [0] * 10}, "x"), played({"a": [0] * 30, "b": [0] * 30}, "y")]
    )
    found = rank(episodes).table.set_index("policy")
    assert found.loc["a", "rate"] == 0.5
    assert found.loc["a", "low"] < 0.5 < found.loc["a", "high"]


def test_posterior_of_a_rate_is_jeffreys():
    draws = posterior_draws(np.array([[3]]), np.array([[20]]), draws=200_000)
    np.testing.assert_allclose(
        np.quantile(draws, [0.025, 0.975]), stats.beta(3.5, 17.5).ppf([0.025, 0.975]), atol=0.003
    )


def test_a_real_difference_is_certain_where_newcombes_interval_says_so():
    pairs = policy_pairs(compared({"a": 1, "b": 1}, {"a": 35, "b": 25}))
    assert pairs["real_difference"][0] == pytest.approx(0.2)
    # Newcombe's method 10 for 35 and 25 of 50 by statsmodels.
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(35, 50, 25, 50, method="newcomb", compare="diff")
    assert (pairs["real_low"][0], pairs["real_high"][0]) == (pytest.approx(low), pytest.approx(high))
    assert bool(pairs["real_certain"][0]) == (low > 0)


def test_prediction_powered_weight_is_the_one_of_least_variance():
    real = np.array([1.0, 1, 0, 0, 1, 0, 1, 0])
    same = np.array([1.0, 1, 0, 0, 1, 0, 0, 1])
    more = np.array([1.0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0])
    both = np.concatenate([same, more])
    weight = np.mean((real - real.mean()) * (same - same.mean())) / ((1 + 8 / 16) * both.var())
    found = prediction_powered_mean(real, same, more)
    assert found.weight == pytest.approx(weight)
    assert found.rate == pytest.approx(real.mean() + weight * (more.mean() - same.mean()))
