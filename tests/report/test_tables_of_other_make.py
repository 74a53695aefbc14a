"""Tables that pandas users have, with names in the index or categories and nullable numbers, give the same report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from real2sim.report.report import make_report

SUCCESSES = {"alpha": 9, "beta": 5, "gamma": 1}
KEYS = ["policy", "task"]


def episodes() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"policy": name, "task": "close", "start": start, "success": start < count}
            for name, count in SUCCESSES.items()
            for start in range(10)
        ]
    )


def rates() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"policy": name, "task": "close", "successes": count, "episodes": 10}
            for name, count in SUCCESSES.items()
        ]
    )


FORMS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "names in the index": lambda table: table.set_index(KEYS),
    "names in the index too": lambda table: table.set_index(KEYS, drop=False),
    "one name in the index": lambda table: table.set_index("policy"),
    "an index called as a column": lambda table: table.rename_axis("policy"),
    "an index with one number": lambda table: table.set_axis([7] * len(table)),
    "categories": lambda table: table.astype(dict.fromkeys(KEYS, "category")),
    "pandas' own types": lambda table: table.convert_dtypes(),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_a_table_of_another_make_gives_the_same_rates(form: str) -> None:
    change = FORMS[form]
    simulated, real = change(episodes()), change(rates())
    kept = simulated.copy(deep=True), real.copy(deep=True)
    made = make_report(simulated, real, real_episodes=change(episodes())).rates.set_index("policy")
    for name, count in SUCCESSES.items():
        assert made.loc[name, "sim_rate"] == count / 10
        assert made.loc[name, "real_rate"] == count / 10
    pd.testing.assert_frame_equal(simulated, kept[0])
    pd.testing.assert_frame_equal(real, kept[1])


def test_categories_may_leave_places_empty() -> None:
    families = pd.Categorical(["one"] * 10 + [None] * 20)
    made = make_report(episodes().assign(family=families, set=pd.Categorical([None] * 30, ["x"])), rates())
    assert list(made.rates["family"]) == ["one", "beta", "gamma"]
    assert set(made.rates["set"]) == {"policies"}


@pytest.mark.parametrize("simulated", [episodes(), pd.concat([rates(), rates().assign(task="open")])])
def test_a_policy_of_two_training_runs_is_refused(simulated: pd.DataFrame, tmp_path: Path) -> None:
    families = ["one" if row else "other" for row in range(len(simulated))]
    with pytest.raises(
        ValueError, match=r"policy 'alpha' has the family '[a-z]+' in one row and '[a-z]+' in"
    ):
        make_report(simulated.assign(family=families), rates(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("successes", True, "successes of alpha on close is 'True', expected a number"),
        ("episodes", pd.Timedelta(10), "episodes of alpha on close is '0 days .*', expected a number"),
        ("episodes", 10**30, r"episodes of alpha on close is 1e\+30, expected at most 1000000000 episodes"),
        ("policy", "Mean ± std", "'Mean ± std', which reads like a line that sums up the others"),
    ],
)
def test_what_is_no_count_and_no_policy_is_refused(column: str, value: object, said: str) -> None:
    real = rates()
    real[column] = [value, *real[column][1:]] if column == "policy" else value
    with pytest.raises(ValueError, match=said):
        make_report(episodes(), real)
