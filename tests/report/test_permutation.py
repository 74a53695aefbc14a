from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from real2sim.report.permutation import floor_words, orderings, permutation_test


def test_with_all_cells_it_is_the_test_of_the_pooled_correlation():
    rng = np.random.default_rng(3)
    sim, real = rng.random((2, 5, 2)) + np.array([0.0, 0.7])
    seen = np.corrcoef(sim.ravel(), real.ravel())[0, 1]
    hits = sum(
        np.corrcoef(sim.ravel(), real[list(order)].ravel())[0, 1] >= seen - 1e-12
        for order in permutations(range(5))
    )
    assert permutation_test(sim, real).p == pytest.approx(hits / 120)


def test_policies_with_a_missing_cell_are_exchanged_among_themselves():
    real = np.array([[0.1, 0.2], [0.4, 0.3], [0.9, 0.8], [0.5, np.nan], [0.7, np.nan]])
    found = permutation_test(real, real)
    assert found.groups == (3, 2)
    assert found.units == 5
    assert found.p == found.floor == pytest.approx(1 / 12)
    assert floor_words(found.groups) == "1/(3!·2!)"


def test_a_policy_that_alone_misses_a_cell_stays_in_place():
    real = np.array([[0.1, 0.2], [0.4, 0.3], [0.9, 0.8], [0.5, np.nan]])
    found = permutation_test(real, real)
    assert found.units == 3
    assert floor_words(found.groups) == "1/3!"


def test_policies_of_different_tasks_are_never_exchanged():
    # Unrelated within each of two tasks with two policies, order as seen has a chance of 1 in 4, not 1 in 4!.
    real = np.array([[0.1, np.nan], [0.9, np.nan], [np.nan, 0.2], [np.nan, 0.7]])
    assert permutation_test(real, real).p == pytest.approx(1 / 4)


def test_the_test_keeps_its_level_where_cells_are_missing():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(400):
        sim, real = rng.random((2, 7, 2))
        # The worst policies were not run on the second task, in either world.
        sim[:3, 1] = real[:3, 1] = np.nan
        p.append(permutation_test(sim, real).p)
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_a_reversed_order_is_as_rare_as_a_perfect_one():
    real = np.array([0.1, 0.3, 0.5, 0.9])
    found = permutation_test(-real, real)
    assert found.p == 1
    assert found.p_opposite == pytest.approx(1 / 24)


def test_drawn_orderings_are_permutations_within_their_groups():
    groups = (0,) * 10 + (1,) * 3
    order, exact = orderings(groups)
    assert not exact
    assert (np.sort(order[:, :10], axis=1) == np.arange(10)).all()
    assert (np.sort(order[:, 10:], axis=1) == np.arange(10, 13)).all()


@pytest.mark.parametrize("sim", [np.full((4, 2), 0.5), np.full((4, 2), [0.2, 0.8])])
def test_equal_policies_have_no_order_to_test(sim):
    assert math.isnan(permutation_test(sim, np.arange(8.0).reshape(4, 2)).p)


def test_without_policies_there_is_no_p():
    assert math.isnan(permutation_test(np.empty((0, 0)), np.empty((0, 0))).p)


def test_orderings_of_many_units_are_shuffles_that_put_every_unit_anywhere_alike() -> None:
    order, exact = orderings(tuple([0] * 60))
    assert not exact
    assert (order[0] == np.arange(60)).all()
    assert (np.sort(order[:2000], axis=1) == np.arange(60)).all()
    first = np.bincount(order[1:, 0], minlength=60)
    # A count of 99 999 / 60 varies by 2.4 % (binomial).
    assert 0.015 < first.std() / first.mean() < 0.035
    assert permutation_test(np.arange(60), np.arange(60)).p == 1e-5
