"""Tables of rates and trials that mean nothing, or two things, through the command and in Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from real2sim.cli import main
from real2sim.report.inputs import read_episodes, read_rates, read_real_episodes
from real2sim.report.report import make_report

Refused = Callable[..., str]
SIM = "policy,task,successes,episodes\nalpha,drawer,8,10\nbeta,drawer,5,10\ngamma,drawer,2,10\n"


def rates(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"policy": ["a", "b"], "task": ["t", "t"], **columns})


def episodes(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"policy": ["a", "b"], "task": ["t", "t"], "success": [1, 0], **columns})


def test_a_rate_without_a_count_says_so_in_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "rates.csv"
    table.write_text("policy,task,rate\nalpha,t,0.9\nbeta,t,50%\n")
    main(["report", str(table), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "90% (count not stated)" in said
    assert "nan" not in said


@pytest.mark.parametrize("table", ["successes,episodes\na,t,,\nb,t,,\n", "rate\na,t,\nb,t,\n"])
def test_rates_that_nobody_filled_in_are_no_report(tmp_path: Path, refused: Refused, table: str) -> None:
    (tmp_path / "rates.csv").write_text(f"policy,task,{table}")
    said = refused("report", tmp_path / "rates.csv", "--out", tmp_path / "out")
    assert "rates.csv (simulated rates): none of its 2 rows has a rate or an episode" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ((1, 1, 0.5), "best are alpha and beta (100 % each)"),
        ((0.5, 0.5, 0.5), "best are alpha, beta and gamma (50 % each)"),
        ((0, 0, 0), "no policy ever succeeds in the simulator"),
    ],
)
def test_of_equal_rates_without_counts_none_is_called_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rates: tuple[float, ...], said: str
) -> None:
    rows = "".join(f"{name},t,{rate}\n" for name, rate in zip(("alpha", "beta", "gamma"), rates, strict=True))
    (tmp_path / "rates.csv").write_text(f"policy,task,rate\n{rows}")
    main(["report", str(tmp_path / "rates.csv"), "--out", str(tmp_path / "out")])
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("heading", ["drawer", "Drawer"])
def test_other_names_of_tasks_are_said_and_not_that_nothing_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], heading: str
) -> None:
    (tmp_path / "sim.csv").write_text(SIM)
    (tmp_path / "real.csv").write_text(SIM.replace("drawer", heading))
    words = ["--out", str(tmp_path / "out"), "--real", str(tmp_path / "real.csv")]
    main(["report", str(tmp_path / "sim.csv"), *words])
    said = capsys.readouterr().out
    assert ("the tasks have other names in reality (real = real.csv has Drawer" in said) == (
        heading == "Drawer"
    )
    assert "no policy of this run was also measured" not in said


@pytest.mark.parametrize("options", [["--judge", "human"], ["--side-by-side"]])
def test_options_of_runs_are_refused_for_a_table(
    tmp_path: Path, refused: Refused, options: list[str]
) -> None:
    (tmp_path / "sim.csv").write_text(SIM)
    said = refused("report", tmp_path / "sim.csv", "--out", tmp_path / "out", *options)
    assert said.startswith(f"{options[0]} is for run folders")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (rates(successes=[1j, 2], episodes=[2, 2]), "successes of a on t is '1j', expected a number"),
        (rates(rate=[[1], 0.5]), "rate of a on t is '[1]', expected a number"),
        (rates(rate=[0.5, 0.2], success_rate=[0.5, 0.2]), "both a column rate and a column success_rate"),
        (pd.concat([rates(rate=0.5), rates(rate=0.5)], axis=1), "two columns 'policy'"),
        ({"policy": ["a"]}, "are a dict, expected a table"),
        (3, "are a int, expected a table"),
    ],
)
def test_real_rates_that_cannot_be(table: Any, complaint: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_rates(table)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (pd.concat([episodes(), episodes()], axis=1), "two columns 'policy'"),
        (episodes(probability=[7, 0.5]), "probability of a on t is 7, it must be between 0 and 1"),
        (episodes(steps=[-1, 3]), "steps of a on t is -1, it must be at least 0"),
        (episodes(valid=["maybe", "True"]), "column valid: expected true or false, found 'maybe'"),
    ],
)
def test_simulated_episodes_that_cannot_be(table: pd.DataFrame, complaint: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_episodes(table)
    assert complaint in str(refused.value)


def test_a_gate_s_verdicts_in_a_table_of_text_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{name},t,1,{valid}\n" for name in "ab" for valid in ("False", "TRUE", "true", "1"))
    table = tmp_path / "trials.csv"
    table.write_text("policy,task,success,valid\n" + rows)
    main(["report", str(table), "--out", str(tmp_path / "out"), "--invalid", "failure"])
    assert "75% (3/4)" in capsys.readouterr().out


def test_repeated_starts_of_few_trials_divide_by_nothing() -> None:
    from real2sim.report.inputs import read_simulated

    table = pd.DataFrame(
        {"policy": list("aabb"), "task": "t", "start": list("0010"), "success": [1, 0, 1, 1]}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _, _ = read_simulated(table)
    assert found["effective"].between(1, 2).all()


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"success_rate": [0.5, 0.5], "n_trials": [10, 10.5]}, "episodes of b on t is 10.5, expected a whole number"),
        ({"success_rate": [0.5, 0.5], "n_trials": [10, 7]}, "the rate of b on t is 0.5, which is no whole number of"),
        ({"rate": [0.5, 0.9], "successes": [5, 5], "episodes": [10, 10]}, "of b on t is 0.9, which is 5 of 10"),
        ({"success_rate": [0.5, 0.9], "successes": [5, 5], "n_trials": [10, 10]}, "is 0.9, which is 5 of 10 episodes"),
    ],
)  # fmt: skip
def test_rates_that_contradict_their_counts_are_refused_in_python_too(
    columns: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_rates(rates(**columns))


def test_rates_that_are_rounded_fit_their_counts() -> None:
    table, _ = read_rates(
        rates(success_rate=[0.856, 0.85], n_trials=[27, 20]).assign(task=["t", "u"]).iloc[1:]
    )
    assert table["successes"].tolist() == [17]
    table, _ = read_rates(rates(success_rate=[0.852, 1 / 3], n_trials=[27, 9]))
    assert table["successes"].tolist() == [23, 3]


@pytest.mark.parametrize(
    "name", ["Total", "SUM:", "average", "Mittelwert", "Avg.", "Overall", "std", "Total*"]
)
@pytest.mark.parametrize("column", ["policy", "task"])
def test_a_line_that_sums_up_the_others_is_no_policy_and_no_task(
    tmp_path: Path, refused: Refused, name: str, column: str
) -> None:
    line = f"{name},drawer,15,30" if column == "policy" else f"alpha,{name},15,30"
    (tmp_path / "sim.csv").write_text(f"{SIM}{line}\n")
    said = refused("report", tmp_path / "sim.csv", "--out", tmp_path / "out")
    assert f"row 5, column {column} is {name!r}, which reads like a line that sums up the others" in said
    with pytest.raises(ValueError, match="reads like a line that sums up the others"):
        read_rates(rates(successes=[1, 2], episodes=[3, 3]).assign(**{column: ["x", name]}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"unclear": "drop"}, "unclear episodes can be exclude or failure, got 'drop'"),
        ({"unclear": None}, "unclear episodes can be exclude or failure, got None"),
        ({"invalid": "ignore"}, "invalid episodes can be as-judged, missing, failure, got 'ignore'"),
    ],
)
def test_words_that_mean_no_treatment_are_refused_in_python(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_report(episodes(), **options)


@pytest.mark.parametrize("read", [read_episodes, read_real_episodes])
def test_readers_of_episodes_know_two_treatments_of_unclear_ones(read: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="got 'drop'"):
        read(episodes(start=["0", "1"]), "drop")


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("n/a", "leave the cell empty where nothing was measured"),
        ("\u2013", "leave the cell empty where nothing was measured"),
        ("#DIV/0!", "leave the cell empty where nothing was measured"),
        ("10-Mar", "taken it for a date"),
        ("3. Okt", "correct the cell"),
        ("03.10.2026", "taken it for a date"),
        ("2026-10-03", "taken it for a date"),
        ("9/10", "into two columns"),
        ("about 0.9", "correct the cell"),
    ],
)
@pytest.mark.parametrize("heading", ["rate", "episodes"])
def test_what_a_cell_seems_to_be_decides_the_advice(
    tmp_path: Path, refused: Refused, cell: str, hint: str, heading: str
) -> None:
    head, row = ("policy,task,rate", f"alpha,t,{cell}")
    if heading == "episodes":
        head, row = ("policy,task,successes,episodes", f"alpha,t,1,{cell}")
    (tmp_path / "t.csv").write_text(f"{head}\n{row}\n", encoding="utf-8")
    said = refused("report", tmp_path / "t.csv", "--out", tmp_path / "out", about=hint)
    assert f"row 2, column {heading} is {cell!r}" in said
