"""Tables that pandas users have, with names in the index or categories and nullable numbers, give the same report."""

from __future__ import annotations

from collections.abc import Callable

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
