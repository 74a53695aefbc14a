from __future__ import annotations

import pytest
from simulated_worlds import WORLDS


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_hold_their_level_and_tests_their_error_rate(name):
    missed = [f"{t.what}, {t.world}: {t.measured:.3f}" for t in WORLDS[name](600) if not t.kept]
    assert not missed


def test_exact_coverage_of_rates_and_gaps():
    assert all(trial.kept for trial in WORLDS["rates"](0))
