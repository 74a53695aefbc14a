from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from real2sim.report.judge_error import (
    JudgeError,
    corrected_rates,
    judge_errors,
    rank_changes,
    rogan_gladen,
    why_uncorrected,
)


def comparison(successes, episodes=100):
    return pd.DataFrame(
        {
            "set": "policies",
            "policy": [f"p{i}" for i in range(len(successes))],
            "task": "x",
            "sim_successes": np.array(successes, float),
            "sim_episodes": float(episodes),
            "sim_rate": np.array(successes) / episodes,
        }
    )


def test_confusion_is_counted_pooled_and_per_task():
    labels = pd.DataFrame(
        {
            "label": ["success", "success", "failure", "failure", "unclear"],
            "success": [True, False, True, False, True],
            "task": ["x", "x", "y", "y", "y"],
        }
    )
    pooled, x, y = judge_errors("by eye", labels)
    assert (pooled.true_success, pooled.false_failure, pooled.false_success, pooled.true_failure) == (
        1,
        1,
        1,
        1,
    )
    assert math.isnan(x.specificity)
    assert y.specificity == 0.5


def test_a_perfect_judge_changes_no_rate():
    rate, low, high = rogan_gladen(np.array([30.0]), np.array([100.0]), JudgeError("", "", 1000, 0, 0, 1000))
    assert rate[0] == pytest.approx(0.3)
    assert low[0] < 0.3 < high[0]


def test_a_known_error_is_undone():
    judge = JudgeError("", "", 90, 10, 20, 80)
    true_rate = 0.6
    judged = true_rate * 0.9 + (1 - true_rate) * 0.2
    rate, _, _ = rogan_gladen(np.array([judged * 1000]), np.array([1000.0]), judge)
    assert rate[0] == pytest.approx(true_rate)


def test_few_labels_make_a_wider_interval():
    many, few = JudgeError("", "", 900, 100, 100, 900), JudgeError("", "", 9, 1, 1, 9)
    counts = np.array([50.0]), np.array([100.0])
    assert np.ptp(rogan_gladen(*counts, few)[1:]) > np.ptp(rogan_gladen(*counts, many)[1:])


def test_rates_below_the_false_alarm_rate_become_0_and_not_negative():
    rate, low, high = rogan_gladen(np.array([1.0]), np.array([100.0]), JudgeError("", "", 90, 10, 20, 80))
    assert rate[0] == 0
    assert low[0] == 0
    assert 0 <= high[0] < 0.2


def test_a_judge_no_better_than_chance_corrects_nothing():
    judge = JudgeError("coin", "", 50, 50, 50, 50)
    with pytest.raises(ValueError, match="no better than chance"):
        rogan_gladen(np.array([1.0]), np.array([10.0]), judge)
    assert "believe none" in why_uncorrected(judge)


def test_too_few_labels_say_how_many_are_needed():
    assert "3 labelled successes" in why_uncorrected(JudgeError("few", "", 3, 0, 0, 30))


def test_a_lost_order_is_warned_about():
    judge = JudgeError("", "", 90, 10, 20, 80)
    assert rank_changes(corrected_rates(comparison([60, 40, 30]), judge)) == []
    # Both fall to 0 once 20 % false alarms are taken away, so their order is lost.
    (first, *_) = rank_changes(corrected_rates(comparison([15, 10]), judge))
    assert "p0 is level with p1" in first


def test_labels_that_are_not_outcomes_are_refused():
    with pytest.raises(ValueError, match="maybe"):
        judge_errors("eye", pd.DataFrame({"label": ["maybe"], "success": [True]}))
    with pytest.raises(ValueError, match="no column label"):
        judge_errors("eye", pd.DataFrame({"success": [True]}))
