from __future__ import annotations

import pandas as pd
import pytest

from real2sim.report.gaps import (
    agreement_by_length,
    episode_agreement,
    pair_episodes,
    policy_pairs,
    worst_episodes,
)
from real2sim.report.inputs import read_episodes, read_rates
from real2sim.report.rates import compare_rates, success_rates


def compared(sim: dict[str, int], real: dict[str, int], n: int = 50) -> pd.DataFrame:
    rows = [
        {"policy": policy, "task": "x", "success": i < count}
        for policy, count in sim.items()
        for i in range(n)
    ]
    episodes, _ = read_episodes(pd.DataFrame(rows))
    table = pd.DataFrame({"policy": list(real), "task": "x", "successes": list(real.values()), "episodes": n})
    return compare_rates(success_rates(episodes, ("set", "policy", "family", "task")), read_rates(table)[0])


def test_pairs_tell_right_wrong_and_tied_orders():
    pairs = policy_pairs(compared({"a": 40, "b": 30, "c": 30, "d": 45}, {"a": 40, "b": 30, "c": 10, "d": 5}))
    orders = pairs.set_index(["better", "worse"])["order"]
    assert orders[("a", "b")] == "right"
    assert orders[("b", "c")] == "tied"
    assert orders[("c", "d")] == "wrong"


def test_a_real_difference_is_certain_only_with_enough_trials():
    pairs = policy_pairs(compared({"a": 1, "b": 1, "c": 1}, {"a": 26, "b": 25, "c": 2})).set_index(
        ["better", "worse"]
    )
    assert not pairs.loc[("a", "b"), "real_certain"]
    assert pairs.loc[("a", "c"), "real_certain"]


def test_equal_real_rates_are_no_pair():
    assert policy_pairs(compared({"a": 1, "b": 9}, {"a": 5, "b": 5})).empty


def table(successes, starts=None, **more):
    n = len(successes)
    return pd.DataFrame(
        {
            "set": "policies", "policy": "a", "task": "x", "start": starts or [str(i) for i in range(n)],
            "success": [float(s) for s in successes], **more,
        }
    )  # fmt: skip


def test_episodes_are_joined_by_start_and_unmatched_ones_counted():
    found = pair_episodes(table([1, 0, 1]), table([1, 1], starts=["0", "1"]))
    assert found.pairs["agree"].tolist() == [1, 0]
    assert "1 of 3" in found.remarks[0]


def test_repeated_real_starts_give_a_share():
    real = table([1, 0, 1, 1], starts=["0", "0", "0", "0"])
    found = pair_episodes(table([1]), real)
    assert found.pairs["agree"].tolist() == [0.75]


def test_agreement_counts_both_kinds_of_error():
    pairs = pair_episodes(table([1, 1, 0, 0]), table([1, 0, 1, 0])).pairs
    row = episode_agreement(pairs).iloc[0]
    assert (row["same"], row["false_success"], row["false_failure"]) == (2, 1, 1)
    assert row["chance"] == pytest.approx(0.5)
    assert row["rate"] == 0.5
    assert row["low"] < 0.5 < row["high"]


def test_worst_episodes_disagree_and_the_surest_come_first():
    rows = compared({"a": 30, "b": 25}, {"a": 10, "b": 25})
    sim = table([1, 1, 1], probability=[0.6, 0.99, 0.9])
    pairs = pair_episodes(sim, table([0, 0, 1])).pairs
    found = worst_episodes(pairs, rows)
    assert found["start"].tolist() == ["1", "0"]


@pytest.mark.parametrize(("sim_successes", "shown"), [(30, 1.0), (2, 0.0)])
def test_a_policy_that_looks_too_good_is_shown_by_simulated_successes(sim_successes, shown):
    rows = compared({"a": sim_successes}, {"a": 10})
    sim = table([1, 0, 1, 0], probability=[0.6, 0.01, 0.7, 0.02])
    found = worst_episodes(pair_episodes(sim, table([0, 1, 0, 1])).pairs, rows)
    assert found["success"].tolist() == [shown, shown]


@pytest.mark.parametrize(("sim_successes", "shown"), [(101, [1.0]), (99, [0.0]), (100, [])])
def test_half_a_point_has_a_direction_and_no_gap_has_none(sim_successes, shown):
    rows = compared({"a": sim_successes}, {"a": 100}, n=200)
    pairs = pair_episodes(table([1, 0]), table([0, 1])).pairs
    assert worst_episodes(pairs, rows)["success"].tolist() == shown


def test_long_episodes_that_disagree_give_a_horizon():
    n = 100
    steps = [5] * n + [20] * n
    real = table([1] * 2 * n)
    sim = table([1] * n + [1, 0] * (n // 2), steps=steps)
    found = agreement_by_length(pair_episodes(sim, real).pairs)
    assert found.horizon == 5
    assert "Past 5 steps" in found.statement


def test_agreement_at_every_length_claims_nothing_beyond():
    sim = table([1] * 60, steps=[5, 10, 20] * 20)
    found = agreement_by_length(pair_episodes(sim, table([1] * 60)).pairs)
    assert found.horizon == 20
    assert "nothing is known beyond" in found.statement


@pytest.mark.parametrize("steps", [None, [7] * 20])
def test_without_different_lengths_no_trend_is_claimed(steps):
    sim = table([1] * 20, **({"steps": steps} if steps else {}))
    found = agreement_by_length(pair_episodes(sim, table([1] * 20)).pairs)
    assert "cannot be seen" in found.statement or "do not say" in found.statement
