from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_suite import make_suite
from statsmodels.stats.proportion import proportion_confint

from real2sim.report.horizon import agreement_by_horizon, read_cut_outcomes
from real2sim.report.report import make_report


def cut(agree: dict[int, int], n: int = 200, successes: int = 80) -> pd.DataFrame:
    """At each length the first ``successes`` episodes really succeed, and the first ``agree`` are judged right."""
    rows = []
    for steps, right in agree.items():
        for i in range(n):
            real = i % n < successes
            rows.append({"policy": "a", "task": "x", "steps": steps, "real_success": real,
                         "success": real if i < right else not real})  # fmt: skip
    return pd.DataFrame(rows)


def test_the_horizon_is_the_longest_length_up_to_which_agreement_is_shown():
    found = agreement_by_horizon(cut({5: 200, 10: 198, 15: 195, 20: 170}))
    assert found.horizon == 15
    assert found.statement.startswith("H* = 15 steps")
    assert "past it, agreement may not be assumed" in found.statement


def test_agreement_at_a_longer_length_does_not_make_up_for_a_shorter_one():
    assert agreement_by_horizon(cut({5: 200, 10: 170, 15: 200})).horizon == 5


def test_agreement_has_to_be_shown_and_not_only_measured():
    # 95 % of 200 is right, but the interval that holds at both lengths at once ends below 90 %.
    low = proportion_confint(188, 200, 1 - 0.95**0.5, "wilson")[0]
    found = agreement_by_horizon(cut({5: 188, 10: 188}))
    assert low < 0.9 and found.horizon is None
    assert found.table["low"].tolist() == [pytest.approx(low)] * 2
    assert "No horizon can be assumed" in found.statement


def test_lengths_at_which_nothing_has_happened_yet_are_not_counted():
    early, later = cut({2: 200}, successes=0), cut({10: 150})
    found = agreement_by_horizon(pd.concat([early, later]))
    assert found.horizon is None
    assert found.table["informative"].tolist() == [False, True]
    assert "say nothing" in agreement_by_horizon(early).statement


def test_unclear_verdicts_are_left_out_and_odd_steps_refused():
    table = cut({5: 10}, n=10).astype({"success": object})
    table.loc[0, "success"] = None
    assert len(read_cut_outcomes(table)) == 9
    with pytest.raises(ValueError, match="whole numbers"):
        read_cut_outcomes(table.assign(steps=2.5))
    with pytest.raises(ValueError, match="no column real_success"):
        read_cut_outcomes(table.drop(columns="real_success"))


def test_the_report_prints_the_horizon():
    suite = make_suite(policies=4, starts=10)
    made = make_report(suite.episodes, suite.real, outcomes_along_the_way=cut({5: 200, 20: 150}))
    assert made.by_length["policies"].horizon == 5
    assert made.metrics["sets"]["policies"]["trusted_steps"] == 5
    assert np.isfinite(made.by_length["policies"].table["chance"]).all()
