from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from real2sim.success.calibration import (
    IsotonicCalibration,
    PlattScaling,
    brier_score,
    expected_calibration_error,
    fit_isotonic,
    fit_platt,
    reliability,
)

logits_and_outcomes = st.lists(
    st.tuples(st.integers(-2000, 2000), st.booleans()), min_size=1, max_size=60
).map(lambda pairs: (np.array([pair[0] for pair in pairs]) / 100, np.array([pair[1] for pair in pairs])))


@settings(max_examples=40, deadline=None)
@given(logits_and_outcomes)
def test_platt_scaling_keeps_the_order_of_the_logits(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, outcomes = data
    calibrated = fit_platt(logits, outcomes).probability(np.sort(logits))
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


@settings(max_examples=40, deadline=None)
@given(logits_and_outcomes)
def test_isotonic_calibration_keeps_the_order_and_the_mean(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, outcomes = data
    calibrated = fit_isotonic(logits, outcomes)
    assert (np.diff(calibrated.probability(np.sort(logits))) >= -1e-12).all()
    assert calibrated.probability(logits).mean() == pytest.approx(outcomes.mean())


@settings(max_examples=40, deadline=None)
@given(logits_and_outcomes)
def test_a_temperature_leaves_every_decision_as_it_is(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, outcomes = data
    scaled = fit_platt(logits, outcomes, temperature_only=True).probability(logits)
    np.testing.assert_array_equal(scaled >= 0.5, logits >= 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80), st.integers(1, 20))
def test_calibration_error_lies_between_zero_and_one_and_counts_every_episode(
    pairs: list[tuple[float, bool]], bins: int
) -> None:
    probabilities = np.array([pair[0] for pair in pairs])
    outcomes = np.array([pair[1] for pair in pairs])
    assert 0 <= expected_calibration_error(probabilities, outcomes, bins) <= 1
    table = reliability(probabilities, outcomes, bins)
    assert sum(row.episodes for row in table) == len(pairs)
    assert all(row.low - 1e-9 <= row.mean_probability <= row.high + 1e-9 for row in table)


def test_overconfident_logits_are_tempered() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, 4000)
    outcomes = rng.random(4000) < expit(honest)
    scaling = fit_platt(3 * honest + 1, outcomes)
    assert scaling.scale == pytest.approx(1 / 3, rel=0.1)
    assert scaling.offset == pytest.approx(-1 / 3, abs=0.1)
    before = expected_calibration_error(expit(3 * honest + 1), outcomes)
    after = expected_calibration_error(scaling.probability(3 * honest + 1), outcomes)
    assert after < 0.03 < before


def test_platt_agrees_with_logistic_regression_of_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, 5000)
    outcomes = rng.random(5000) < expit(0.7 * logits - 0.4)
    reference = sm.Logit(outcomes.astype(float), sm.add_constant(logits)).fit(disp=0).params
    scaling = fit_platt(logits, outcomes)
    # Platt's targets are drawn in by 1 / (count + 2), which moves the fit a little.
    assert scaling.scale == pytest.approx(reference[1], rel=0.02)
    assert scaling.offset == pytest.approx(reference[0], abs=0.02)


def test_separable_logits_give_a_finite_scale() -> None:
    scaling = fit_platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert np.isfinite(scaling.scale)
    assert 0.5 < scaling.probability(np.array([2.0]))[0] < 1


def test_a_perfect_judge_has_no_calibration_error() -> None:
    outcomes = np.array([True, False, True, True])
    assert expected_calibration_error(outcomes.astype(float), outcomes) == 0
    assert brier_score(outcomes.astype(float), outcomes) == 0


def test_a_judge_that_is_always_wrong_has_the_worst_calibration_error() -> None:
    outcomes = np.array([True, False, True, True])
    assert expected_calibration_error(1.0 - outcomes, outcomes) == 1


def test_isotonic_calibration_is_flat_beyond_its_ends() -> None:
    calibration = IsotonicCalibration((-1.0, 1.0), (0.2, 0.8))
    np.testing.assert_allclose(calibration.probability(np.array([-9.0, 0.0, 9.0])), [0.2, 0.5, 0.8])


def test_values_that_cannot_be_calibrated_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        fit_platt(np.array([np.nan]), np.array([True]))
    with pytest.raises(ValueError, match="as many values"):
        fit_platt(np.zeros(2), np.zeros(3, bool))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        expected_calibration_error(np.array([1.5]), np.array([True]))
    with pytest.raises(ValueError, match="positive"):
        PlattScaling(scale=0)
