from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from test_agreement_measures import rows

from real2sim.report.agreement import agreement
from real2sim.report.gaps import pair_episodes, shared_noise
from real2sim.report.true_rates import Noise, binomial_noise, folded_mean, true_correlation, true_gap


def test_noise_of_a_rate_is_unbiased():
    n, p = 20, 0.3
    k = np.arange(n + 1)
    noise = binomial_noise((k / n, np.full(n + 1, n)), (k / n, np.full(n + 1, n)))
    assert (stats.binom.pmf(k, n, p) * noise.sim).sum() == pytest.approx(p * (1 - p) / n)


def test_without_counts_or_with_single_trials_noise_is_not_known():
    assert binomial_noise((np.array([0.5]), np.array([np.nan])), (np.array([0.5]), np.array([9.0]))) is None
    assert binomial_noise((np.array([1.0]), np.array([1.0])), (np.array([0.5]), np.array([9.0]))) is None


def test_correction_undoes_a_known_attenuation():
    # Half of the variance of each side is noise (n = 5 costs a fifth of it), so r = 0.4 becomes 0.4 / 0.6.
    sim = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    half = np.full(5, np.var(sim) / 2)
    value, low, high = true_correlation(sim, sim[::-1], Noise(half, half, np.zeros(5)), (0.4, 0.1, 0.7))
    assert value == pytest.approx(0.4 / 0.6)
    assert (low, high) == (pytest.approx(0.1 / 0.6), 1.0)


def test_noise_that_both_sides_share_lowers_the_correlation_of_true_rates():
    sim = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    half = np.full(5, np.var(sim) / 2)
    value, _, _ = true_correlation(sim, sim, Noise(half, half, half / 2), (0.4, 0.1, 0.7))
    assert value == pytest.approx((0.4 - 0.2) / 0.6)


def test_rates_that_differ_by_noise_alone_have_no_corrected_correlation():
    rate = np.array([0.45, 0.5, 0.55, 0.5])
    assert "hardly more than noise" in agreement(rows(rate, rate[::-1], n=20)).pearson_true.unsupported


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (0.3, 0.04), (-0.5, 0.01)])
def test_folded_mean_equals_the_integral(mean, variance):
    grid = np.linspace(-8, 8, 400_001)
    expected = np.trapezoid(np.abs(grid) * stats.norm.pdf(grid, mean, math.sqrt(variance)), grid)
    assert folded_mean(mean, variance) == pytest.approx(expected, rel=1e-6)


def test_true_gap_recovers_the_gap_behind_noise():
    rng = np.random.default_rng(0)
    gaps, noise = rng.normal(0.02, 0.08, 20_000), 0.01
    measured = gaps + rng.normal(0, math.sqrt(noise), 20_000)
    plain = float(np.abs(measured).mean())
    half = np.full(20_000, noise / 2)
    value, low, high = true_gap(measured, Noise(half, half, 0 * half), (plain, 0.9 * plain, 1.1 * plain))
    assert value == pytest.approx(np.abs(gaps).mean(), rel=0.03)
    assert low < value < high


def test_true_gap_of_normal_gaps_is_the_mean_of_a_folded_normal():
    # Gaps of mean 0.05, blurred to a variance of 0.0025 + 0.001: what blurs m is taken back to the mean of |N(m, s)|.
    mean, spread, noise = 0.05, 0.05, np.full(2, 0.0005)
    wide = math.sqrt(spread**2 + 0.001)

    def size(deviation, times=1.0):
        return float(stats.foldnorm(mean / deviation, scale=deviation).mean()) * times

    def larger(times):
        """Measured size of gaps that are all ``times`` as large, with the same noise."""
        deviation = math.sqrt((times * spread) ** 2 + 0.001)
        return float(stats.foldnorm(times * mean / deviation, scale=deviation).mean())

    gaps = mean + wide * np.array([-1.0, 1.0])
    found = true_gap(gaps, Noise(noise, noise, 0 * noise), (size(wide), larger(0.5), larger(2.0)))
    np.testing.assert_allclose(found, [size(spread), size(spread, 0.5), size(spread, 2.0)], rtol=1e-6)


def test_gaps_below_a_point_stay_where_rates_are_known():
    known = np.zeros(3)
    plain = (0.004, 0.002, 0.006)
    found = true_gap(np.full(3, 0.004), Noise(known, known, known), plain)
    np.testing.assert_allclose(found, plain, rtol=1e-6)


def test_gaps_that_noise_alone_would_make_are_0():
    noise = np.full(4, 0.01)
    value, low, high = true_gap(
        np.array([0.05, -0.05, 0.02, 0.0]), Noise(noise, noise, 0 * noise), (0.03, 0.01, 0.3)
    )
    assert (value, low) == (0, 0)
    assert high > 0


def test_an_interval_that_is_not_known_stays_unknown():
    gaps, noise = np.array([0.3, -0.2, 0.25]), Noise(*[np.full(3, 0.001)] * 2, np.zeros(3))
    value, low, high = true_gap(gaps, noise, (0.25, math.nan, math.nan))
    assert value > 0 and math.isnan(low) and math.isnan(high)


def test_shared_starts_give_the_covariance_of_two_means():
    import pandas as pd

    outcomes = pd.DataFrame({"sim": [1, 1, 0, 0, 1], "real": [1, 0, 0, 0, 1]}).astype(float)
    base = {"set": "s", "policy": "a", "task": "x", "start": list("abcde")}
    sim = pd.DataFrame({**base, "success": outcomes["sim"]})
    real = pd.DataFrame({**base, "success": outcomes["real"]})
    table = pd.DataFrame(
        {
            **{key: [base[key]] for key in ("set", "policy", "task")},
            "sim_episodes": 10.0,
            "real_episodes": 5.0,
        }
    )
    expected = np.cov(outcomes["sim"], outcomes["real"])[0, 1] * 5 / (10 * 5)
    assert shared_noise(pair_episodes(sim, real).pairs, table) == pytest.approx(expected)


def test_plain_and_corrected_numbers_stand_beside_each_other():
    rng = np.random.default_rng(1)
    truth = np.linspace(0.1, 0.9, 8)
    found = agreement(rows(rng.binomial(20, truth) / 20, rng.binomial(20, truth) / 20, n=20))
    assert found.pearson_true.value > found.pearson.value
    assert found.mae_true_points.value < found.mae_points.value
    assert found.pearson_true.low <= found.pearson_true.value <= found.pearson_true.high
