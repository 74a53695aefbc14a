from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from real2sim.report import joint_rates
from real2sim.report.joint_rates import Population, angles, draw_angles
from real2sim.report.rank_violation import largest_violations, mmrv, mmrv_interval
from real2sim.report.true_rates import Noise, shared_part

LADDER = np.linspace(0.1, 0.9, 16)


def counts(rate: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rate * n, np.full(len(rate), float(n))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.8])
def test_the_variance_of_an_angle_does_not_depend_on_the_rate(rate):
    n = 60
    k = np.arange(n + 1.0)
    angle, variance = angles((k, np.full(n + 1, float(n))))
    weight = stats.binom.pmf(k, n, rate)
    mean = (weight * angle).sum()
    assert (weight * (angle - mean) ** 2).sum() == pytest.approx(variance[0], rel=0.03)
    assert np.sin(mean) ** 2 == pytest.approx(rate, abs=0.005)


def dense(x, y, noise_x, noise_y, both, population, spread):
    """Mean 0 and covariance (2n + 2) of angles, measured angles, and the two means, whose spread is given."""
    n = len(x)
    real, sim, between = population
    one, eye = np.ones((n, n)) * spread**2, np.eye(n)
    true = np.block([[real * eye + one, between * eye], [between * eye, sim * eye + one]])
    noise = np.block([[np.diag(noise_x), np.diag(both)], [np.diag(both), np.diag(noise_y)]])
    return true, true + noise


def test_the_likelihood_of_a_population_is_that_of_the_whole_normal_distribution():
    rng = np.random.default_rng(0)
    sim, real = (
        (np.array([3.0, 9, 12, 20, 31]), np.array([20.0, 20, 40, 40, 40])),
        counts(LADDER[::3][:5], 50),
    )
    (y, noise_y), (x, noise_x) = angles(sim), angles(real)
    both = 0.4 * np.sqrt(noise_x * noise_y)
    cells = Population(*(rng.uniform(0.02, 0.2, (2, 6))), rng.uniform(-0.02, 0.02, 6))
    found, mean, _ = joint_rates._populations(cells, x, y, noise_x, noise_y, both)
    expected = []
    for cell in zip(cells.real, cells.sim, cells.between, strict=True):
        _, whole = dense(x, y, noise_x, noise_y, both, cell, spread=300.0)
        expected.append(stats.multivariate_normal(np.zeros(10), whole).logpdf(np.concatenate([x, y])))
    assert found - found[0] == pytest.approx(np.array(expected) - expected[0], abs=1e-3)
    assert np.isfinite(mean).all()


def test_draws_have_the_mean_and_covariance_of_the_conditional_normal(monkeypatch):
    cell = (0.04, 0.05, 0.035)
    grid = Population(*(np.array([value]) for value in cell))
    monkeypatch.setattr(Population, "grid", classmethod(lambda cls: grid))
    sim, real = counts(np.array([0.2, 0.4, 0.9]), 30), counts(np.array([0.3, 0.5, 0.6]), 50)
    (y, noise_y), (x, noise_x) = angles(sim), angles(real)
    both = 0.3 * np.sqrt(noise_x * noise_y)
    true, whole = dense(x, y, noise_x, noise_y, both, cell, spread=100.0)
    gain = true @ np.linalg.inv(whole)
    mean, covariance = gain @ np.concatenate([x, y]), true - gain @ true
    drawn = draw_angles(sim, real, 200_000, np.random.default_rng(1), shared=0.3)
    both_sides = np.concatenate([drawn[1], drawn[0]], axis=1)
    assert both_sides.mean(axis=0) == pytest.approx(mean, abs=2e-3)
    assert np.cov(both_sides.T) == pytest.approx(covariance, abs=3e-4)


def test_noise_is_not_counted_twice():
    rng = np.random.default_rng(0)
    sides = [(rng.binomial(100, LADDER).astype(float), np.full(16, 100.0)) for _ in range(2)]
    # The measured order is wrong in places, as that of every perfect simulator with so many episodes.
    assert mmrv(sides[0][0] / 100, sides[1][0] / 100) > 0.01
    assert mmrv_interval(*sides)[1] < 0.08


def test_with_many_episodes_the_interval_is_the_plain_number():
    sim = LADDER.copy()
    sim[[3, 8, 12]] = sim[[8, 12, 3]]
    low, high = mmrv_interval(counts(sim, 100_000), counts(LADDER, 100_000))
    assert low == pytest.approx(mmrv(sim, LADDER), abs=0.01)
    assert high == pytest.approx(mmrv(sim, LADDER), abs=0.005)


def test_a_better_half_that_is_turned_round_is_not_taken_for_noise():
    sim = LADDER.copy()
    sim[8:] = sim[8:][::-1]
    assert mmrv_interval(counts(sim, 50), counts(LADDER, 50))[1] > 0.2


def test_noise_that_both_worlds_share_explains_less_disorder():
    rng = np.random.default_rng(4)
    off = np.clip(LADDER + rng.normal(0, 0.08, 16), 0, 1)
    sides, middle = (counts(off, 50), counts(LADDER, 50)), []
    for shared in (0.0, 0.9):
        y, x = draw_angles(*sides, 1000, np.random.default_rng(0), shared)
        middle.append(np.median(largest_violations(y, np.sin(x) ** 2).mean(axis=1)))
    assert middle[1] > middle[0] + 0.03


def test_tasks_are_ordered_each_by_itself():
    sim, real = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.8, 0.9, 0.1, 0.2])
    tasks = np.array(["a", "a", "b", "b"])
    sides = counts(sim, 4000), counts(real, 4000)
    assert mmrv_interval(*sides)[0] > 0.5
    assert mmrv_interval(*sides, tasks=tasks)[1] < 0.02


def test_the_noise_that_worlds_share_is_a_correlation():
    noise = Noise(np.array([0.04, 0.01]), np.array([0.01, 0.01]), np.array([0.01, 0.005]))
    assert shared_part(noise) == pytest.approx(0.015 / 0.03)
    assert shared_part(None) == 0
