"""Capital in a fair game, against slow loops and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from real2sim.report.betting import SHARES, log_evidence, log_growth


def test_evidence_of_one_task_is_the_likelihood_of_coins_over_that_of_a_fair_one() -> None:
    wins, losses = 9, 2
    differences = np.array([1.0] * wins + [-1.0] * losses + [0.0] * 5)[:, None]
    coins = (1 + SHARES) / 2
    expected = np.mean(coins**wins * (1 - coins) ** losses / 0.5 ** (wins + losses))
    assert log_evidence(differences)[-1] == pytest.approx(np.log(expected))


def test_starts_where_both_do_the_same_do_not_count() -> None:
    x = np.array([1.0, 0, 0, 1, 0, -1, 0])[:, None]
    assert log_evidence(x)[-1] == pytest.approx(log_evidence(x[x[:, 0] != 0])[-1])


@pytest.mark.parametrize("null", [0.0, -0.2, 0.3])
@pytest.mark.parametrize("means", [(0.0, 0.0), (0.5, -0.5), (0.3, -0.3)])
def test_capital_cannot_be_expected_to_grow_when_the_mean_over_tasks_is_the_null(
    null: float, means: tuple[float, float]
) -> None:
    """All outcomes of a turn of two tasks are counted, each task's difference being 1, 0 or -1."""
    chances = []
    for mean in means:
        m = mean + null
        win = (0.9 + m) / 2 if abs(m) < 0.9 else max(m, 0)
        lose = win - m
        chances.append({1: win, -1: lose, 0: 1 - win - lose})
        assert min(chances[-1].values()) >= -1e-12
    expected = np.zeros(len(SHARES))
    for first, second in itertools.product((1, 0, -1), repeat=2):
        growth = np.exp(log_growth(np.array([first, second], float), null))
        expected += chances[0][first] * chances[1][second] * growth
    assert (expected <= 1 + 1e-9).all()


def test_capital_of_equals_hardly_ever_reaches_20() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (200, 1, 2000)) - rng.integers(0, 2, (200, 1, 2000))
    reached = (log_evidence(x.astype(float)) >= np.log(20)).any(axis=0)
    assert 0.005 < reached.mean() <= 0.05


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((200, 1, 200)) < 0.8).astype(float) - (rng.random((200, 1, 200)) < 0.5)
    assert (log_evidence(x)[-1] >= np.log(20)).mean() > 0.95


def test_evidence_against_a_margin_needs_more_than_the_margin() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((400, 1, 200)) < 0.6).astype(float) - (rng.random((400, 1, 200)) < 0.5)
    assert ((log_evidence(x, 0.1) >= np.log(20)).any(axis=0)).mean() <= 0.05


def test_a_null_that_no_difference_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        log_growth(np.zeros(1), 1.0)
