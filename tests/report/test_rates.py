from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from real2sim.report.inputs import read_episodes, read_rates
from real2sim.report.rates import compare_rates, newcombe, success_rates, wilson


@given(st.integers(1, 500), st.data())
def test_wilson_interval_contains_its_rate_and_stays_between_0_and_1(episodes, data):
    successes = data.draw(st.integers(0, episodes))
    low, high = wilson(np.array(successes), np.array(episodes))
    assert 0 <= low <= successes / episodes <= high <= 1


def test_no_episode_gives_no_interval_and_no_warning():
    low, high = wilson(np.array([0.0, np.nan]), np.array([0.0, np.nan]))
    assert np.isnan(low).all() and np.isnan(high).all()


def test_gap_interval_is_newcombes_as_statsmodels_has_it():
    sim, real = (17.0, 40.0), (55.0, 100.0)
    sides = []
    for k, n in (sim, real):
        low, high = wilson(np.array(k), np.array(n))
        sides.append((np.array(k / n), low, high))
    low, high = newcombe(*sides)
    expected = confint_proportions_2indep(17, 40, 55, 100, method="newcomb", compare="diff")
    np.testing.assert_allclose([low, high], expected, atol=1e-12)


def test_rates_count_each_policy_and_task():
    episodes = pd.DataFrame(
        {"policy": ["a", "a", "a", "b"], "task": ["x", "x", "y", "x"], "success": [True, False, True, True]}
    )
    rates = success_rates(episodes).set_index(["policy", "task"])
    assert rates.loc[("a", "x"), "successes"] == 1
    assert rates.loc[("a", "x"), "episodes"] == 2
    assert rates.loc[("b", "x"), "rate"] == 1


def test_comparison_keeps_policies_without_a_real_rate():
    episodes, _ = read_episodes(pd.DataFrame({"policy": ["a", "b"], "task": "x", "success": [1, 0]}))
    sim = success_rates(episodes, ("set", "policy", "family", "task"))
    real, _ = read_rates(pd.DataFrame({"policy": ["a"], "task": ["x"], "successes": [5], "episodes": [10]}))
    rows = compare_rates(sim, real).set_index("policy")
    assert rows.loc["a", "gap_points"] == pytest.approx(50)
    assert np.isnan(rows.loc["b", "real_rate"])


def test_rates_of_repeated_starts_have_the_interval_of_what_they_are_worth():
    # 30 of 40 that are worth 20 episodes: as wide as 15 of 20.
    side = pd.DataFrame({"policy": ["a"], "task": "x", "successes": 30, "episodes": 40, "rate": 0.75})
    sim = side.assign(set="policies", family="a", effective=20.0)
    row = compare_rates(sim, side.assign(effective=[10.0])).iloc[0]
    for world, successes, episodes in (("sim", 15, 20), ("real", 7.5, 10)):
        low, high = proportion_confint(successes, episodes, method="wilson")
        assert (row[f"{world}_low"], row[f"{world}_high"]) == (pytest.approx(low), pytest.approx(high))


def test_published_rates_keep_their_digits():
    table = pd.DataFrame({"policy": ["a"], "task": ["x"], "success_rate": [0.907], "n_trials": [75]})
    rates, _ = read_rates(table)
    assert rates["rate"][0] == 0.907
    assert rates["successes"][0] == 68


def test_subtasks_beside_all_are_left_out():
    table = pd.DataFrame(
        {
            "policy": "a",
            "task": "x",
            "subtask": ["all", "standing"],
            "success_rate": [0.5, 0.1],
            "n_trials": [10, 5],
        }
    )
    rates, _ = read_rates(table)
    assert rates["rate"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"policy": ["a"], "task": ["x"], "successes": [11], "episodes": [10]}, "11 successes in 10"),
        (
            {"policy": ["a", "a"], "task": ["x", "x"], "successes": [1, 2], "episodes": [10, 10]},
            "more than once",
        ),
        ({"policy": ["a"], "successes": [1], "episodes": [10]}, "no column task"),
        ({"policy": ["a"], "task": ["x"], "score": [1]}, "no column successes, episodes"),
    ],
)
def test_impossible_real_rates_are_named(table, words):
    with pytest.raises(ValueError, match=words):
        read_rates(pd.DataFrame(table))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="real rates"):
        read_rates(tmp_path / "rates.csv")


def test_zero_real_episodes_count_as_not_measured():
    table = pd.DataFrame({"policy": ["a", "b"], "task": "x", "successes": [0, 3], "episodes": [0, 4]})
    rates, remarks = read_rates(table)
    assert rates["policy"].tolist() == ["b"]
    assert "no episode of a on x" in remarks[0]


def test_unscored_run_says_to_score_it():
    with pytest.raises(ValueError, match="score"):
        read_episodes(pd.DataFrame({"policy": ["a"], "task": ["x"]}))


def test_unscored_episodes_and_second_judges_are_left_out_with_a_remark():
    frame = pd.DataFrame(
        {
            "episode": ["1", "1", "2", "3"],
            "policy": "a",
            "task": "x",
            "success": [True, False, None, True],
            "judge": ["first", "second", "first", "first"],
        }
    )
    episodes, remarks = read_episodes(frame)
    assert episodes["success"].tolist() == [1, 1]
    assert any("no verdict" in remark for remark in remarks)
    assert any("second" in remark for remark in remarks)
