from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from real2sim.report.letters import compact_letters
from real2sim.report.paired_tests import (
    compare_policies,
    mcnemar_exact,
    outcome_table,
    sign_flip_exact,
    stratified_exact,
)
from real2sim.report.ranking import posterior_draws, probability_best, probability_better, rank
from real2sim.report.sequential import (
    confidence_sequence,
    episodes_to_separate,
    evidence,
    mcnemar_power,
    sequential_test,
)


def played(outcomes: dict[str, list[int]], task: str = "x", starts: bool = True) -> pd.DataFrame:
    rows = []
    for policy, values in outcomes.items():
        for i, value in enumerate(values):
            row = {"policy": policy, "family": policy, "task": task, "success": float(value), "seed": i}
            rows.append(row | ({"start": str(i)} if starts else {}))
    return pd.DataFrame(rows)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_statsmodels(b, c):
    expected = mcnemar([[5, b], [c, 5]], exact=True).pvalue
    assert mcnemar_exact(np.array(b), np.array(c)) == pytest.approx(min(expected, 1.0))


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_exact_test_of_one_task_is_fishers(n1, n2, data):
    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    expected = stats.fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue
    assert stratified_exact(np.array([[k1, n1]]), np.array([[k2, n2]])) == pytest.approx(expected)


def test_exact_test_keeps_tasks_apart():
    # Each task alone is level; lumped together the first policy would look better (Simpson's paradox).
    first, second = np.array([[90, 100], [1, 10]]), np.array([[9, 10], [10, 100]])
    assert stratified_exact(first, second) > 0.5
    assert stratified_exact(first.sum(0)[None], second.sum(0)[None]) < 0.01


def test_starts_are_paired_by_name_and_repetitions_by_seed():
    first = pd.DataFrame({"policy": "a", "task": "x", "start": "s", "seed": [2, 1], "success": [1.0, 0.0]})
    second = pd.DataFrame({"policy": "b", "task": "x", "start": "s", "seed": [1, 2], "success": [0.0, 1.0]})
    wide = outcome_table(pd.concat([first, second]))
    assert (wide["a"] == wide["b"]).all()


def test_policies_on_shared_starts_are_tested_in_pairs():
    episodes = played({"a": [1] * 20, "b": [1] * 8 + [0] * 12})
    found = compare_policies(episodes, ["a", "b"])
    assert found.paired
    row = found.table.iloc[0]
    assert (row["only_first"], row["only_second"], row["shared"]) == (12, 0, 20)
    assert row["p"] == pytest.approx(2 / 2**12)


def test_starts_that_just_one_of_two_policies_ran_count_for_neither():
    # Of 60 shared starts the first alone succeeds on 10; the second fails on 100 further ones.
    found = compare_policies(played({"a": [1] * 60, "b": [1] * 50 + [0] * 110}), ["a", "b"])
    row = found.table.iloc[0]
    assert (row["shared"], row["only_first"], row["only_second"]) == (60, 10, 0)
    assert row["p"] == pytest.approx(2 / 2**10)


def test_without_starts_the_test_is_unpaired():
    episodes = played({"a": [1] * 20, "b": [1] * 8 + [0] * 12}, starts=False)
    found = compare_policies(episodes, ["a", "b"])
    assert not found.paired
    assert found.table["p"][0] == pytest.approx(stats.fisher_exact([[20, 0], [8, 12]]).pvalue)


@given(st.integers(1, 9), st.data())
def test_policies_share_a_letter_exactly_when_they_cannot_be_told_apart(n, data):
    differs = np.zeros((n, n), bool)
    for i in range(n):
        for j in range(i + 1, n):
            differs[i, j] = differs[j, i] = data.draw(st.booleans())
    letters = compact_letters(differs)
    for i in range(n):
        assert letters[i]
        for j in range(n):
            assert bool(set(letters[i]) & set(letters[j])) == (i == j or not differs[i, j])


def test_letters_of_a_clear_ladder_are_one_each():
    assert compact_letters(~np.eye(3, dtype=bool)) == ["a", "b", "c"]


def test_probabilities_of_being_best_add_up_and_follow_the_counts():
    draws = posterior_draws(np.array([[18], [10], [2]]), np.full((3, 1), 20))
    best = probability_best(draws)
    assert best.sum() == pytest.approx(1)
    assert best[0] > 0.98 > best[1] > best[2]


def test_probability_better_equals_the_closed_form():
    draws = posterior_draws(np.array([[7], [5]]), np.full((2, 1), 10), draws=200_000)
    grid = (np.arange(20_000) + 0.5) / 20_000
    first, second = stats.beta(7.5, 3.5), stats.beta(5.5, 5.5)
    exact = np.mean(first.pdf(grid) * second.cdf(grid))
    assert probability_better(draws)[0, 1] == pytest.approx(exact, abs=0.005)


def test_ranking_orders_policies_and_groups_equal_ones():
    rng = np.random.default_rng(0)
    same = (rng.random(60) < 0.5).astype(int)
    found = rank(played({"bad": [0] * 60, "middle": list(same), "twin": list(same), "good": [1] * 60}))
    assert found.table["policy"].tolist()[0] == "good"
    letters = found.table.set_index("policy")["letters"]
    assert letters["middle"] == letters["twin"]
    assert len({letters["good"], letters["middle"], letters["bad"]}) == 3


def test_ranking_of_nothing_and_of_one_policy_says_so():
    nothing = rank(played({"a": []}).reindex(columns=["policy", "family", "task", "success"]))
    assert "no episodes" in nothing.statement
    one = rank(played({"a": [1, 0, 1]}))
    assert one.table["letters"].tolist() == ["a"]
    assert one.neighbours.empty


def test_policies_without_a_common_task_are_not_ranked():
    episodes = pd.concat([played({"a": [1]}, "x"), played({"b": [1]}, "y")])
    assert "No task was run by all" in rank(episodes).statement


def test_evidence_equals_the_integral_over_all_coins():
    grid = (np.arange(100_000) + 0.5) / 100_000
    expected = np.mean(grid**7 * (1 - grid) ** 2) / 0.5**9
    assert evidence(np.array(7), np.array(2)) == pytest.approx(expected, rel=1e-6)


def test_sequential_test_stops_soon_for_a_clear_difference_and_never_for_none():
    assert sequential_test(np.ones(50), np.zeros(50)) <= 9
    assert sequential_test(np.ones(50), np.ones(50)) is None


def test_eight_wins_in_a_row_separate_two_policies_at_once():
    # n wins in a row have the evidence 2^n / (n + 1): 16 after seven, 28.4 after eight, and 1 / 0.05 is 20.
    assert sequential_test(np.ones(50), np.zeros(50)) == 8
    assert sequential_test(np.ones(8), np.zeros(8)) == 8
    assert sequential_test(np.ones(7), np.zeros(7)) is None


def test_confidence_sequence_contains_the_rate_and_is_wider_than_wilson():
    low, high = confidence_sequence(np.array([0, 30, 50]), np.array([50, 50, 50]))
    assert low[0] == 0 and high[2] == 1
    assert low[1] < 0.6 < high[1]
    assert high[1] - low[1] > 0.27


def test_no_number_of_episodes_separates_equal_policies():
    assert episodes_to_separate(0.5, 0.5) is None


def test_numbers_of_episodes_up_to_a_million_are_given_and_larger_ones_are_not():
    # Connor (1987): ((z_0.975 sqrt(d) + z_0.8 sqrt(d - gap^2)) / gap)^2 with half of the starts discordant.
    def connor(gap):
        z, z_power = stats.norm.ppf([0.975, 0.8])
        return ((z * np.sqrt(0.5) + z_power * np.sqrt(0.5 - gap**2)) / gap) ** 2

    assert 800_000 < connor(0.0022) < 900_000
    assert episodes_to_separate(0.5, 0.5022, 0.0022, 0.5) == pytest.approx(connor(0.0022), rel=0.02)
    assert 1_000_000 < connor(0.0018) < 1_300_000
    assert episodes_to_separate(0.5, 0.5018, 0.0018, 0.5) is None
    assert connor(0.001) > 3_000_000
    assert episodes_to_separate(0.5, 0.501, 0.001, 0.5) is None


def test_pairing_saves_episodes_and_smaller_gaps_cost_more():
    unpaired = episodes_to_separate(0.6, 0.5)
    paired = episodes_to_separate(0.6, 0.5, 0.1, 0.2)
    assert paired < unpaired
    assert episodes_to_separate(0.55, 0.5) > unpaired


def test_paired_power_equals_a_slow_enumeration():
    n, difference, discordance = 25, 0.3, 0.5
    ahead = (discordance + difference) / 2
    total = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            chance = stats.multinomial.pmf(
                [b, c, n - b - c], n, [ahead, discordance - ahead, 1 - discordance]
            )
            total += chance * (mcnemar_exact(np.array(b), np.array(c)) <= 0.05)
    assert mcnemar_power(n, difference, discordance) == pytest.approx(total, rel=1e-6)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_sign_flips_of_single_repetitions_are_mcnemars_test(b, c, ties):
    differences = np.array([1] * b + [-1] * c + [0] * ties)
    assert sign_flip_exact(differences) == pytest.approx(float(mcnemar_exact(np.array(b), np.array(c))))


def test_sign_flips_equal_a_count_of_all_signs():
    d = np.array([3, -1, 2, 2, -1, 0])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    expected = np.mean(np.abs((signs * np.abs(d)).sum(1)) >= abs(d.sum()))
    assert sign_flip_exact(d) == pytest.approx(expected)


def repeated(outcomes: dict[str, list[int]], times: int) -> pd.DataFrame:
    one = played(outcomes)
    return pd.concat([one.assign(seed=one["seed"] + 1000 * i) for i in range(times)], ignore_index=True)


@pytest.mark.slow
def test_repeating_every_start_proves_nothing_more():
    # The same outcome again and again: ten times the episodes, no new start frame.
    outcomes = {"a": [1, 1, 1, 1, 0, 1], "b": [0, 0, 1, 0, 0, 0]}
    once, often = played(outcomes), repeated(outcomes, 10)
    p = [compare_policies(table, ["a", "b"]).table["p"][0] for table in (once, often)]
    assert p[0] == pytest.approx(p[1])
    wide = [rank(table).table.set_index("policy").loc["a"] for table in (once, often)]
    assert wide[1]["episodes"] == 60
    assert wide[1]["high"] - wide[1]["low"] == pytest.approx(wide[0]["high"] - wide[0]["low"], abs=0.03)


def test_what_is_settled_or_still_needed_shares_the_error_among_all_pairs():
    # The pair alone has p = 2 / 2^7; among the 15 pairs of six policies it is not proven.
    base = [1, 0] * 30
    outcomes = {"first": [1] * 14 + base[14:], "second": base, **{f"p{i}": [0] * 60 for i in range(4)}}
    found = rank(played(outcomes))
    pair = found.neighbours.iloc[0]
    assert pair["p"] < 0.05 < pair["p_family"]
    letters = found.table.set_index("policy")["letters"]
    assert letters["first"] == letters["second"]
    assert pair["still_needed"] > 10
    assert np.isnan(pair["stopped_at"])


@pytest.mark.slow
def test_equal_policies_are_settled_at_most_one_time_in_twenty():
    rng = np.random.default_rng(0)
    false = []
    for _ in range(60):
        outcomes = {f"p{i}": list((rng.random(60) < 0.5).astype(int)) for i in range(8)}
        false.append(bool(rank(played(outcomes)).neighbours["stopped_at"].notna().any()))
    assert np.mean(false) <= 0.05


def test_letters_of_two_hundred_policies_take_no_time():
    import time

    rate = np.linspace(0, 1, 200)
    begin = time.process_time()
    letters = compact_letters(np.abs(rate[:, None] - rate[None, :]) > 0.1)
    assert time.process_time() - begin < 2
    assert letters[0] == "a" and letters[-1] != "a"
