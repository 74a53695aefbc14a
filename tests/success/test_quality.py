from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from real2sim.success.quality import Confusion, JudgeQuality


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_every_episode_is_counted_once(pairs: list[tuple[bool, bool]]) -> None:
    verdicts, truth = (np.array(column) for column in zip(*pairs, strict=True))
    counts = Confusion.count(verdicts, truth)
    assert counts.episodes == len(pairs)
    assert counts.accuracy == pytest.approx((verdicts == truth).mean())
    assert counts.true_success + counts.false_failure == truth.sum()


@given(st.integers(0, 40), st.integers(1, 40))
def test_an_interval_contains_its_share(count: int, more: int) -> None:
    low, high = Confusion(count, 0, 0, more).intervals()["sensitivity"]
    assert 0 <= low <= count / (count + more) <= high <= 1


def test_balanced_accuracy_does_not_reward_guessing_the_common_outcome() -> None:
    truth = np.array([True] * 90 + [False] * 10)
    counts = Confusion.count(np.ones(100, bool), truth)
    assert counts.accuracy == 0.9
    assert counts.balanced_accuracy == 0.5


def test_a_share_of_nothing_is_unknown() -> None:
    counts = Confusion.count(np.array([True]), np.array([True]))
    assert math.isnan(counts.specificity)
    assert counts.intervals()["specificity"] == (0.0, 1.0)
    assert JudgeQuality.measure(np.array([0.9]), np.array([True])).facts()["specificity"] is None


def test_episodes_without_a_verdict_are_left_out() -> None:
    quality = JudgeQuality.measure(np.array([1.0, np.nan, 0.0]), np.array([True, True, False]))
    assert quality.confusion.episodes == 2
    with pytest.raises(ValueError, match="no verdict"):
        JudgeQuality.measure(np.array([np.nan]), np.array([True]))


def test_joint_errors_are_averaged_where_they_are_known() -> None:
    quality = JudgeQuality.measure(np.array([1.0, 0.0]), np.array([True, False]), np.array([-0.004, np.nan]))
    assert quality.facts()["joint_error_mm"] == 4.0
