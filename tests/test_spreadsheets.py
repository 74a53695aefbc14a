"""CSV files as spreadsheets write them are read right, or refused with row and column."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from real2sim.report.inputs import read_rates, read_real_episodes
from real2sim.success.labels import read_labels

COUNTS = "policy,task,successes,episodes\nalpha,close,9,10\nbeta,close,5,10\n"
RATES = "policy,task,success_rate,n_trials\nalpha,close,{},10\nbeta,close,{},10\n"


def table(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "real.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        COUNTS,
        "\ufeff" + COUNTS,
        COUNTS.replace("\n", "\r\n"),
        COUNTS.replace(",", ";"),
        COUNTS.replace(",", "\t"),
        COUNTS + "\n,,,\n\n",
        "\n" + COUNTS.replace("beta", "\nbeta"),
        COUNTS.replace("policy,task,successes", "Policy, Task ,SUCCESSES"),
        COUNTS.replace("alpha,close", " alpha , close"),
        COUNTS.replace("\n", ",\n"),
        "," + COUNTS.replace("\nalpha", "\n0,alpha").replace("\nbeta", "\n1,beta"),
        COUNTS.replace("9,10", "9.0,10"),
        RATES.format("90%", "50 %"),
        RATES.format('"0,9"', '"0,5"'),
        RATES.format("0.9", ".50").replace("success_rate", "Success rate"),
        RATES.format("9e-1", "5E-1"),
        "policy,task,successes,episodes,rate\nalpha,close,9,10,0.9\nbeta,close,5,10,\n".replace(",0.9", ",0.90"),
    ],
)  # fmt: skip
def test_the_same_rates_are_read_however_they_are_written(tmp_path: Path, content: str) -> None:
    rates, _ = read_rates(table(tmp_path, content))
    assert rates[["policy", "task", "successes", "episodes", "rate"]].values.tolist() == [
        ["alpha", "close", 9, 10, 0.9],
        ["beta", "close", 5, 10, 0.5],
    ]


@pytest.mark.parametrize(
    "name", ["005000", "1e5", "007", "None", "NA", "nan", "null", "-", "1.0", "TRUE", "Zoë"]
)
def test_names_keep_their_spelling(tmp_path: Path, name: str) -> None:
    rates, _ = read_rates(table(tmp_path, f"policy,task,successes,episodes\n{name},{name},1,2\n"))
    assert rates["policy"].tolist() == rates["task"].tolist() == [name]
    episodes, _ = read_real_episodes(table(tmp_path, f"policy,task,start,success\n{name},t,{name},true\n"))
    assert episodes["policy"].tolist() == episodes["start"].tolist() == [name]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (COUNTS.replace("9,10", "9.5,10"), "row 2, column successes is '9.5', expected a whole number"),
        (COUNTS.replace("5,10", "many,10"), "row 3, column successes is 'many', expected a whole number"),
        (COUNTS.replace("9,10", '"1,000","1,000"'), "row 2, column successes is '1,000', expected a whole number; wr"),
        (COUNTS.replace("9,10", "9,1e308"), "row 2, column episodes is '1e308'"),
        (COUNTS.replace("9,10", f"9,{10**400}"), "row 2, column episodes is '1000"),
        (COUNTS.replace("9,10", "-1,10"), "row 2, column successes is '-1'"),
        (COUNTS.replace("9,10", "11,10"), "row 2, column successes is 11, more than the 10 episodes"),
        (COUNTS.replace("9,10", ",10"), "row 2, column successes is empty"),
        (COUNTS + "Zo\u00eb,t,1,2\nZoe\u0308,t,1,2\n", "row 5, column policy is 'Zoe\\u0308'"),
        (COUNTS + "a b,t,1,2\na  b,t,1,2\n", "row 5, column policy is 'a  b', and a row above has 'a b', which looks"),
        (COUNTS + "Total,,14,20\n", "row 4, column policy is 'Total', which reads like a line that sums up"),
        (RATES.format("90", "50"), "row 2, column success_rate is '90', a rate must lie between 0 and 1"),
        (RATES.format("good", "0.5"), "row 2, column success_rate is 'good', expected a rate"),
        (RATES.format("0.85", "0.5"), "row 2, column success_rate is 0.85, which is no whole number of successes"),
        ("policy,task,successes,episodes,rate\na,b,1,10,0.9\n", "row 2, column rate is 0.9, which is 1 of 10 episodes"),
        (COUNTS.replace("9,10", "9,10,7"), "row 2, column 5 holds '7' and has no heading"),
        ("policy,task,policy\na,b,c\n", "has two columns 'policy'"),
        ("policy,task,successes,episodes\n", "holds headings and no row"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        (COUNTS.replace("alpha", "a\0"), "row 2 holds a NUL character"),
        (COUNTS.replace("alpha", '"alpha'), "is not valid CSV"),
        (COUNTS.replace("alpha", "a" * 200_000), "is not valid CSV"),
        (b"PK\x03\x04rest", "is a spreadsheet's own format"),
        (b'{"policy": "a", "success": true}\n', "holds JSON, not CSV"),
        (b"<!DOCTYPE html><table>", "holds a web page, not CSV"),
        (COUNTS.replace("alpha", "Zoë").encode("latin-1"), "is not UTF-8 text (byte 33 is 0xeb)"),
        (COUNTS.encode("utf-16"), "it looks like UTF-16"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    path = table(tmp_path, content)
    with pytest.raises(ValueError) as refused:
        read_rates(path)
    assert str(refused.value).startswith(str(path))
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_rate_may_be_rounded_to_the_digits_it_has(tmp_path: Path) -> None:
    rates, _ = read_rates(table(tmp_path, "policy,task,rate,episodes\na,b,0.85,27\nb,b,33%,3\n"))
    assert rates["successes"].tolist() == [23, 1]


def test_outcomes_of_real_episodes_are_checked_with_their_row(tmp_path: Path) -> None:
    path = table(tmp_path, "policy,task,start,success\na,b,s,TRUE\na,b,r,maybe\n")
    with pytest.raises(ValueError, match="row 3, column success is 'maybe'"):
        read_real_episodes(path)


def test_labels_without_a_row_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds headings and no row"):
        read_labels(table(tmp_path, "episode,label\n"))


@pytest.mark.skipif("REAL2SIM_CASES" not in os.environ, reason="REAL2SIM_CASES names a folder with CSV files")
def test_files_from_elsewhere_are_read_or_refused() -> None:
    for path in sorted(Path(os.environ["REAL2SIM_CASES"]).glob("*.csv")):
        try:
            rates, _ = read_rates(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert rates["rate"].tolist() == [0.9, 0.5, 0.1], path


@pytest.mark.parametrize("before", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "\ufeffsep=;\n"])
def test_the_line_in_which_excel_names_the_separator_is_no_heading(tmp_path: Path, before: str) -> None:
    rates, _ = read_rates(table(tmp_path, before + "policy;task;success_rate;n_trials\nalpha;t;0,9;10\n"))
    assert rates[["policy", "successes", "episodes"]].values.tolist() == [["alpha", 9, 10]]


def test_successes_may_stand_beside_trials(tmp_path: Path) -> None:
    rates, _ = read_rates(table(tmp_path, "policy,task,successes,n_trials\nalpha,t,9,10\n"))
    assert rates[["successes", "episodes", "rate"]].values.tolist() == [[9, 10, 0.9]]


def test_rows_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    path = table(tmp_path, "\n\npolicy,task,successes,episodes\nalpha,t,many,10\n")
    with pytest.raises(ValueError, match="row 4, column successes is 'many'"):
        read_rates(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("policy,task,rate,success_rate\na,t,0.9,0.1\n", "both a column rate and a column success_rate"),
        ("policy,task,successes,episodes,n_trials\na,t,9,10,20\n", "both a column episodes and a column n_trials"),
        ("policy,task,success,successes,episodes\na,t,1,9,10\n", "both a column success and a column successes"),
        ("policy,task,rate\na,t,9/10\n", "row 2, column rate is '9/10', expected a rate such as 0.9 or 90%; write"),
        ("policy,task,successes,episodes\na,t,9/10,10\n", "write successes and episodes into two columns"),
        ("policy,task,successes,episodes\na,t,9.000,10.000\n", "row 2, column successes is '9.000'"),
        ('policy,task,successes,episodes\n"a\nb",t,9,10\n', "row 2, column policy is 'a\\nb', expected a name"),
        ("policy,task,successes,episodes\na\u200b,t,9,10\n", "row 2, column policy is 'a\\u200b'"),
        (f"policy,task,successes,episodes\na,{'t' * 201},9,10\n", "at most 200 printable characters"),
        ("policy,task,success,valid\na,t,1,maybe\n", "row 2, column valid is 'maybe', expected true, false"),
        ("policy,task,success,probability\na,t,1,7\n", "row 2, column probability is '7', a rate must lie"),
        ("# rates of May\npolicy,task,successes,episodes\na,t,9,10\n", "row 1 holds '# rates of May' alone"),
        ("policy|task|successes|episodes\na|t|9|10\n", "has no column policy, task; it has policy|task|"),
        ("policy,task,successes,episodes\na,t,9,10\na,t,9,10\n", "a on t appears more than once"),
    ],
)  # fmt: skip
def test_tables_that_can_be_meant_in_two_ways_are_refused_by_the_name_of_the_file(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = table(tmp_path, content)
    with pytest.raises(ValueError) as refused:
        read_rates(path)
    assert str(path) in str(refused.value)
    assert complaint in str(refused.value)
