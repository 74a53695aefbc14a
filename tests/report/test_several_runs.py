from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_suite import make_suite

from real2sim.report.gaps import pair_episodes
from real2sim.report.inputs import read_episodes, read_simulated
from real2sim.report.prediction_powered import prediction_powered_rates
from real2sim.report.report import make_report
from real2sim.report.several_runs import effective_episodes


def run(seed: int = 0, world: str = "model", **more) -> pd.DataFrame:
    rows = [
        {"episode": f"{policy}-{start}", "policy": policy, "task": "x", "start": str(start), "seed": 100 * seed + start,
         "world": world, "success": (start + seed) % 2 == 0, "judge": "classifier"} | more
        for policy in ("a", "b")
        for start in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_runs_with_other_seeds_add_episodes():
    episodes, remarks = read_episodes(pd.concat([run(0), run(1)]))
    assert len(episodes) == 16
    assert episodes["episode"].is_unique
    assert episodes["set"].nunique() == 1
    assert not any("more than once" in remark for remark in remarks)


def test_the_same_run_given_twice_counts_once():
    episodes, remarks = read_episodes(pd.concat([run(0), run(0)]))
    assert len(episodes) == 8
    assert any("8 episodes appear more than once" in remark for remark in remarks)


def test_runs_in_other_worlds_are_sets_of_their_own():
    episodes, remarks = read_episodes(pd.concat([run(0), run(0, world="other")]))
    assert list(dict.fromkeys(episodes["set"])) == ["policies in model", "policies in other"]
    assert len(episodes) == 16
    assert episodes["episode"].is_unique
    assert any("2 worlds" in remark for remark in remarks)


def test_worlds_that_judge_themselves_keep_their_verdicts():
    episodes, remarks = read_episodes(pd.concat([run(0), run(0, world="mujoco", judge="mujoco")]))
    assert len(episodes) == 16
    assert any("different judges" in remark for remark in remarks)


@pytest.mark.slow
def test_every_set_has_its_own_verdict_and_agreement(tmp_path):
    suite = make_suite(policies=6, starts=20)
    other = suite.episodes.assign(success=~suite.episodes["success"], world="reversed")
    made = make_report(pd.concat([suite.episodes.assign(world="good"), other]), suite.real, out=tmp_path)
    good, reversed_ = made.metrics["sets"].values()
    assert good["pooled"]["pearson"] > 0.8 > -0.8 > reversed_["pooled"]["pearson"]
    assert made.metrics["set"] == "policies in good"


def test_identical_weights_under_two_names_are_one_training_run_and_said():
    episodes, remarks = read_episodes(run(0, weights="rt1 aaaa"))
    assert episodes["family"].nunique() == 1
    assert any("a and b have identical weights" in remark for remark in remarks)


def test_one_name_for_different_weights_is_refused():
    first, second = run(0, weights="rt1 aaaa", run="first"), run(1, weights="rt1 bbbb", run="second")
    both = pd.concat([first, second])
    with pytest.raises(ValueError, match=r"policy 'a' has other weights .*first and second"):
        read_episodes(both[both["policy"] == "a"])


def test_a_real_trial_counts_once_however_often_its_start_is_simulated():
    starts = [str(i) for i in range(60)]
    once = pd.DataFrame({"set": "policies", "policy": "a", "task": "x", "start": starts,
                         "success": np.arange(60) % 3 == 0}).astype({"success": float})  # fmt: skip
    real = once.head(30).assign(success=(np.arange(30) % 2 == 0).astype(float))
    thrice = pd.concat([once] * 3, ignore_index=True)
    (first, _), (second, _) = (
        prediction_powered_rates(table, pair_episodes(table, real).pairs) for table in (once, thrice)
    )
    assert second["real_trials"].tolist() == [30]
    pd.testing.assert_frame_equal(first, second)


def starts(outcomes: list[list[int]]) -> pd.DataFrame:
    rows = [
        {"set": "s", "policy": "a", "task": "x", "start": str(start), "success": float(value)}
        for start, values in enumerate(outcomes)
        for value in values
    ]
    return pd.DataFrame(rows)


def test_one_episode_per_start_is_worth_itself():
    assert effective_episodes(starts([[1], [0], [1]])).tolist() == [3]


def test_starts_that_always_end_alike_are_worth_one_episode_each():
    assert effective_episodes(starts([[1] * 5, [0] * 5, [1] * 5])).tolist() == [pytest.approx(3)]


def test_starts_that_say_nothing_about_their_outcome_cost_nothing():
    assert effective_episodes(starts([[1, 0], [0, 1], [1, 0]])).tolist() == [pytest.approx(6)]


def test_intraclass_correlation_is_that_of_the_analysis_of_variance():
    # Two starts of four: means 3/4 and 1/4; between mean square 4 * 2 * (1/4)^2 = 1/2, within (3/4 + 3/4) / 6 = 1/4,
    # icc = (1/2 - 1/4) / (1/2 + 3 * 1/4) = 1/5, so 8 episodes are worth 8 / (1 + 3/5) = 5.
    assert effective_episodes(starts([[1, 1, 1, 0], [1, 0, 0, 0]])).tolist() == [pytest.approx(5)]


def test_repeated_starts_widen_the_interval_of_the_rate_and_are_remarked():
    once = run(0)
    rates, _, _ = read_simulated(pd.concat([once.assign(seed=once["seed"] + 10 * i) for i in range(6)]))
    assert rates["episodes"].tolist() == [24, 24]
    assert rates["effective"].tolist() == [pytest.approx(4)] * 2


def test_tables_of_rates_without_families_say_that_all_count_as_independent():
    table = pd.DataFrame({"policy": ["a", "b"], "task": "x", "success_rate": [0.1, 0.2], "n_trials": 10})
    assert any("counted as independent" in remark for remark in read_simulated(table)[2])
    assert not any("independent" in remark for remark in read_simulated(table.assign(family="run"))[2])
