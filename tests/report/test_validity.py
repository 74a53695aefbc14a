"""Invalid episodes counted three ways, and whether they end differently from reality."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_suite import make_suite
from statsmodels.stats.proportion import proportion_confint

from real2sim.report.gaps import pair_episodes
from real2sim.report.inputs import read_real_episodes
from real2sim.report.report import make_report
from real2sim.report.validity import odds_ratio, treat, validity


def small() -> pd.DataFrame:
    """Two policies, four episodes each: one invalid success of a, one invalid failure of b, one unchecked of b."""
    return pd.DataFrame(
        {
            "set": "policies",
            "policy": list("aaaabbbb"),
            "family": list("aaaabbbb"),
            "task": "t",
            "start": [f"s{i}" for i in range(4)] * 2,
            "success": [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0],
            "valid": [False, True, True, True, True, False, True, None],
            "invalid_from": [3, None, None, None, None, 7, None, None],
        }
    )


def test_invalid_episodes_count_as_judged_as_missing_or_as_failures() -> None:
    found = validity(small(), None, small().iloc[:0])
    rates = found.rates.set_index(["policy", "treatment"])[["successes", "episodes"]]
    assert rates.loc["a"].to_numpy().tolist() == [[2, 4], [1, 3], [1, 4]]
    assert rates.loc["b"].to_numpy().tolist() == [[2, 4], [2, 3], [2, 4]]
    accepted = found.accepted.set_index("policy")
    assert accepted[["checked", "accepted"]].to_numpy().tolist() == [[4, 3], [3, 2]]
    assert accepted["invalid_from"].tolist() == [3, 7]


def test_a_policy_without_a_valid_episode_is_not_measured_when_they_are_left_out() -> None:
    episodes = small().assign(valid=[False] * 4 + [True] * 4)
    rates = validity(episodes, None, episodes.iloc[:0]).rates
    row = rates[(rates["policy"] == "a") & (rates["treatment"] == "missing")].iloc[0]
    assert row["episodes"] == 0
    assert math.isnan(row["rate"])


def test_the_accepted_share_in_words_is_that_of_the_first_set() -> None:
    episodes = pd.concat([small(), small().assign(set="scripted", valid=False)], ignore_index=True)
    low, high = proportion_confint(5, 7, method="wilson")
    found = validity(episodes, None, episodes.iloc[:0]).statement
    assert "accepts 5 of 7 episodes" in found
    assert f"{100 * low:.0f}" in found and f"{100 * high:.0f}" in found


def test_an_unknown_treatment_is_refused() -> None:
    with pytest.raises(ValueError, match="as-judged, missing, failure, got 'drop'"):
        treat(small(), "drop")  # type: ignore[arg-type]


def test_the_odds_ratio_is_that_of_a_published_table() -> None:
    # Fisher's tea tasting, ((3, 1), (1, 3)), as R's fisher.test prints it.
    found = odds_ratio(3, 1, 1, 3)
    assert found.ratio == pytest.approx(6.408309, rel=1e-4)
    assert (found.low, found.high) == pytest.approx((0.2117, 621.9), rel=0.01)
    assert found.p == pytest.approx(0.4857, abs=1e-4)
    assert math.isnan(odds_ratio(0, 0, 3, 4).ratio)


def test_a_gate_that_finds_the_wrong_episodes_improves_the_agreement_and_one_that_does_not_says_so() -> None:
    suite = make_suite(error=0.3)
    real, _ = read_real_episodes(suite.real_episodes)
    pairs = pair_episodes(suite.episodes.assign(success=suite.episodes["success"].astype(float)), real).pairs
    rng = np.random.default_rng(0)
    for knows, same in ((True, False), (False, True)):
        wrong = pairs["agree"] == 0
        valid = ~wrong if knows else pd.Series(rng.random(len(pairs)) < 0.7, pairs.index)
        episodes = pairs.assign(valid=valid)
        found = validity(
            episodes, suite.real.assign(rate=suite.real["successes"] / suite.real["episodes"]), episodes
        )
        by_treatment = found.agreement.set_index("treatment")
        better = by_treatment.loc["missing", "mae_points"] < by_treatment.loc["as-judged", "mae_points"] / 2
        assert better == knows
        ending = found.endings.iloc[0]
        assert ending["invalid"] + ending["valid"] == len(pairs)
        assert (ending["low"] < 1 < ending["high"]) == same


def test_the_report_says_that_validity_is_not_measured_without_a_gate() -> None:
    suite = make_suite()
    report = make_report(suite.episodes, suite.real)
    assert not report.validity.measured
    assert report.metrics["validity"] is None
    assert "not measured" in report.validity.statement


@pytest.mark.slow
def test_the_page_shows_accepted_shares_and_all_three_treatments(tmp_path: Path) -> None:
    suite = make_suite(sets=True)
    episodes = suite.episodes.assign(valid=suite.episodes["seed"] % 5 != 0, invalid_from=np.nan)
    report = make_report(episodes, suite.real, real_episodes=suite.real_episodes, out=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in ("counted as judged", "left out", "counted as failures", "Accepted share of each policy"):
        assert words in page
    assert report.metrics["validity"]["policies"]["policies"][0]["checked"] == 80


@pytest.mark.slow
def test_invalid_episodes_can_be_taken_out_of_every_number() -> None:
    suite = make_suite()
    episodes = suite.episodes.assign(valid=suite.episodes["seed"] % 4 != 0)
    kept = make_report(episodes, suite.real)
    out = make_report(episodes, suite.real, invalid="missing")
    failed = make_report(episodes, suite.real, invalid="failure")
    assert out.rates["sim_episodes"].tolist() == [30] * len(out.rates)
    assert (failed.rates["sim_rate"] <= kept.rates["sim_rate"]).all()
    assert failed.rates["sim_episodes"].tolist() == kept.rates["sim_episodes"].tolist()
    assert any("left out in every number" in remark for remark in out.remarks)
    pd.testing.assert_frame_equal(out.validity.rates, kept.validity.rates)
