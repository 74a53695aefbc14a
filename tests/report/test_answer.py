"""Which policy is best, whether to believe it, and what to do next."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_suite import TASKS, make_suite

from real2sim.report.answer import FEWEST_RUNS, answer, best_group, best_lines, real_means
from real2sim.report.outcomes import no_verdict_counts
from real2sim.report.permutation import permutation_test
from real2sim.report.report import make_report
from real2sim.report.smear import odd_colours, smeared
from real2sim.report.spread import spread


@pytest.fixture(scope="module")
def good():
    suite = make_suite(policies=8, starts=60, error=0.0)
    return make_report(suite.episodes, suite.real)


def test_the_best_group_is_the_first_policy_and_those_that_share_a_letter_with_it(good) -> None:
    table = good.ranking["policies"].table
    letters = dict(zip(table["policy"], table["letters"], strict=True))
    found = best_group(good.ranking["policies"])
    assert found[0] == "policy-7"
    assert set(found) == {policy for policy in letters if set(letters[policy]) & set(letters["policy-7"])}
    assert len(found) < len(table)


def test_a_good_simulator_is_trusted_and_its_best_policy_put_on_the_robot(good) -> None:
    found = answer(good, "policies")
    assert found.trust.startswith("Yes")
    assert "Put policy-7 on the robot" in found.next_words
    assert "best there as well" in found.reality_words
    assert best_lines(good).startswith("policies: best is policy-7 (")


def test_a_best_policy_that_stands_alone_is_put_on_the_robot_without_a_rival() -> None:
    suite = make_suite(policies=8, starts=1500, error=0.0)
    found = answer(make_report(suite.episodes, suite.real), "policies")
    assert found.best == ("policy-7",)
    assert found.next_words == "Put policy-7 on the robot."


def test_nobody_is_sent_to_the_robot_by_a_simulator_without_evidence() -> None:
    suite = make_suite(error=0.5)
    found = answer(make_report(suite.episodes, suite.real), "policies")
    assert found.trust == "No."
    assert "Do not choose by this simulator" in found.next_words


def test_without_reality_the_next_step_is_to_measure_it() -> None:
    suite = make_suite(policies=4, starts=20)
    found = answer(make_report(suite.episodes), "policies")
    assert found.trust == "Not known."
    assert "--real" in found.next_words
    assert found.reality_words == ""


def test_the_best_in_reality_is_named_where_it_is_another_one() -> None:
    suite = make_suite(policies=6, starts=40, error=0.0)
    real = suite.real.copy()
    top = real["policy"] == "policy-0"
    real.loc[top, "successes"] = real.loc[top, "episodes"]
    words = answer(make_report(suite.episodes, real), "policies").reality_words
    assert words.endswith("the best there is policy-0 with 100 %.")


def test_without_a_common_task_the_highest_of_each_task_is_named() -> None:
    episodes = make_suite(policies=4, starts=10, error=0.0).episodes
    first = (episodes["policy"] <= "policy-1") == (episodes["task"] == TASKS[0])
    found = answer(make_report(episodes[first]), "policies")
    assert found.best == ()
    assert "no task was run by all policies" in found.best_words
    assert "on close drawer policy-1" in found.best_words
    assert "on open drawer policy-2 and policy-3 (80 %)" in found.best_words


def test_four_runs_are_the_fewest_whose_perfect_order_is_rare_by_luck() -> None:
    floors = {k: permutation_test(np.arange(k) / k, np.arange(k) / k).floor for k in (3, 4)}
    assert floors[3] > 0.05 >= floors[4]
    assert FEWEST_RUNS == 4


def test_real_means_leave_out_policies_that_lack_a_task() -> None:
    suite = make_suite(policies=3, starts=20)
    real = suite.real.drop(index=suite.real.index[-1])
    rates = make_report(suite.episodes, real).rates
    found = real_means(rates, TASKS)
    assert sorted(found.index) == ["policy-0", "policy-1"]
    expected = suite.real.groupby("policy")["successes"].sum() / 40
    assert found["rate"].to_dict() == pytest.approx(expected[found.index].to_dict())
    assert (found["low"] < found["rate"]).all()
    assert (found["rate"] < found["high"]).all()


def test_episodes_without_a_verdict_are_counted_per_policy_and_task() -> None:
    episodes = pd.DataFrame(
        {
            "policy": list("aaabb"),
            "task": ["t", "t", "u", "t", "u"],
            "success": [True, None, None, False, "unclear"],
        }
    )
    found = no_verdict_counts(episodes).set_index(["policy", "task"])
    assert found["no_verdict"].to_dict() == {("a", "t"): 1, ("a", "u"): 1, ("b", "t"): 0, ("b", "u"): 1}
    assert found["episodes"].to_dict() == {("a", "t"): 2, ("a", "u"): 1, ("b", "t"): 1, ("b", "u"): 1}


def test_dots_on_one_point_are_spread_and_lone_dots_stay() -> None:
    points = np.array([[5.0, 5.0], [5.0, 5.0], [5.2, 5.0], [40.0, 40.0]])
    places = spread(points, 4.0, (0.0, 0.0), (50.0, 50.0))
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(4, 1)].min() > 3.8
    assert np.abs(places[3] - points[3]).max() < 0.01
    assert np.abs(places[:3] - points[:3]).max() < 5
    assert (places == spread(points, 4.0, (0.0, 0.0), (50.0, 50.0))).all()


def test_dots_are_spread_alike_in_any_unit() -> None:
    points = np.array([[5.0, 5.0], [5.0, 5.0], [5.2, 5.0], [40.0, 40.0]])
    places = spread(points, 4.0, (0.0, 0.0), (50.0, 50.0))
    small = spread(1e-4 * points, 4e-4, (0.0, 0.0), (5e-3, 5e-3))
    np.testing.assert_allclose(1e4 * small, places, rtol=1e-6)


def test_a_film_in_mixed_colours_is_marked_as_smeared() -> None:
    start = np.zeros((16, 16, 3), np.uint8)
    start[:, 8:] = (200, 30, 30)
    sharp = np.repeat(np.roll(start, 3, axis=1)[None], 5, axis=0)
    mixed = sharp.copy()
    mixed[:, :, :4] = (100, 15, 120)
    odd = odd_colours([start, start, start], [sharp, sharp, mixed])
    assert odd[:2] == [0, 0]
    assert odd[2] == pytest.approx(4 / 16)
    assert smeared(odd) == [False, False, True]
