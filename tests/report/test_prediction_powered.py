from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from real2sim.report.gaps import pair_episodes
from real2sim.report.prediction_powered import prediction_powered_mean, prediction_powered_rates


def world(rng, n, m, rate=0.5, agreement=0.95):
    truth = (rng.random(n + m) < rate).astype(float)
    simulated = np.where(rng.random(n + m) < agreement, truth, 1 - truth)
    return truth[:n], simulated[:n], simulated[n:]


def test_a_good_simulator_shortens_the_interval():
    rng = np.random.default_rng(0)
    real, same, more = world(rng, 50, 2000)
    found = prediction_powered_mean(real, same, more)
    blind = prediction_powered_mean(real, rng.permutation(same), rng.permutation(more))
    assert found.weight > 0.6
    assert blind.weight < 0.4
    assert found.high - found.low < 0.6 * (blind.high - blind.low)


def test_a_biased_simulator_is_corrected():
    rng = np.random.default_rng(1)
    real = (rng.random(4000) < 0.3).astype(float)
    always_higher = np.maximum(real, rng.random(4000) < 0.5)
    more = np.maximum(rng.random(20_000) < 0.3, rng.random(20_000) < 0.5).astype(float)
    found = prediction_powered_mean(real, always_higher, more)
    assert found.low < 0.3 < found.high
    assert found.rate == pytest.approx(0.3, abs=0.02)


def test_weight_0_is_the_plain_mean():
    real = np.array([1.0, 0, 1, 0, 1])
    found = prediction_powered_mean(real, np.ones(5), np.ones(100))
    assert found.weight == 0
    assert found.rate == pytest.approx(0.6)


def test_unequal_pairs_are_refused():
    with pytest.raises(ValueError, match="same starts"):
        prediction_powered_mean(np.ones(3), np.ones(4), np.ones(5))


def episodes(n):
    return pd.DataFrame(
        {
            "set": "policies", "policy": "a", "task": "x", "start": [str(i) for i in range(n)],
            "success": np.arange(n) % 2 * 1.0,
        }
    )  # fmt: skip


def test_cells_with_further_starts_are_estimated_and_others_explained():
    real = episodes(30)[["policy", "task", "start", "success"]]
    sim = episodes(200)
    table, words = prediction_powered_rates(sim, pair_episodes(sim, real).pairs)
    assert table["real_trials"].tolist() == [30]
    assert table["further_starts"].tolist() == [170]
    assert "shorter" in words
    all_paired = episodes(30)
    assert "nothing to add" in prediction_powered_rates(all_paired, pair_episodes(all_paired, real).pairs)[1]
    few = pair_episodes(sim, real.head(5)).pairs
    assert "Too few real trials" in prediction_powered_rates(sim, few)[1]
    assert "No real trials" in prediction_powered_rates(sim, sim.iloc[:0])[1]


def test_two_real_trials_are_enough_for_an_interval_and_one_is_not():
    # Student's t with one degree of freedom is 12.7 standard errors wide: nothing is known but 0 to 1.
    found = prediction_powered_mean(np.array([1.0, 0.0]), np.ones(2), np.ones(4))
    assert (found.rate, found.low, found.high) == (0.5, 0.0, 1.0)
    with pytest.raises(ValueError, match="at least 2 real trials"):
        prediction_powered_mean(np.ones(1), np.ones(1), np.ones(4))
