"""`report` on one table that holds simulated and real success."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from real2sim.cli import main
from real2sim.report.both_worlds import read_both_worlds

PAPER = """Model,Task,Real SR (%),Sim SR (%),Real Trials,Sim Trials
RT-1 (Converged),Pick Coke Can,84,86.0,25,300
RT-1 (15%),Pick Coke Can,92%,71.0%,25,300
RT-1 (Begin),Pick Coke Can,12,2.7,25,300
"""
FRACTIONS = """checkpoint,env,sim,real
1k,put spoon,12/50,3/20
5k,put spoon,25/50,9/20
10k,put spoon,38/50,15/20
"""
ROWS = """policy\ttask\tn_success\tn_trials\tdomain
A\topen\t12\t50\tsim
A\topen\t5\t20\treal
B\topen\t30\t50\tSim
B\topen\t12\t20\tReal
"""
TRIALS = """policy,task,start,success,world
A,open,0,true,simulated
A,open,0,false,real
A,open,1,true,real
B,open,0,false,simulated
B,open,0,false,real
"""


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def reported(folder: Path, text: str) -> pd.DataFrame:
    main(["report", str(written(folder, text)), "--out", str(folder / "report")])
    return pd.read_csv(folder / "report" / "report.csv").set_index("policy")


def test_a_table_of_a_paper_is_read_as_it_is_printed(tmp_path: Path) -> None:
    rates = reported(tmp_path, PAPER)
    assert rates.loc["RT-1 (Converged)", ["sim_successes", "sim_episodes"]].tolist() == [258, 300]
    assert rates.loc["RT-1 (Converged)", ["real_successes", "real_episodes"]].tolist() == [21, 25]
    assert rates.loc["RT-1 (15%)", ["sim_rate", "real_rate"]].tolist() == pytest.approx([0.71, 0.92])
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "real_sr_(%) is real rate" in page
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["sets"]


def test_fractions_are_counts(tmp_path: Path) -> None:
    rates = reported(tmp_path, FRACTIONS)
    assert rates.loc["10k", ["sim_successes", "sim_episodes"]].tolist() == [38, 50]
    assert rates.loc["1k", ["real_successes", "real_episodes"]].tolist() == [3, 20]
    assert set(rates["task"]) == {"put spoon"}


def test_rows_of_both_worlds_are_told_apart_by_a_column(tmp_path: Path) -> None:
    rates = reported(tmp_path, ROWS)
    assert rates.loc["B", ["sim_successes", "real_successes"]].tolist() == [30, 12]


def test_trials_of_both_worlds_are_told_apart_by_a_column(tmp_path: Path) -> None:
    rates = reported(tmp_path, TRIALS)
    assert rates.loc["A", ["sim_successes", "real_successes", "real_episodes"]].tolist() == [1, 1, 2]


def test_rates_without_counts_and_without_a_task_are_said_to_be_so(tmp_path: Path) -> None:
    rates = reported(tmp_path, "policy;success_rate_real;success_rate_sim\nA;0,85;0,8\nB;0,2;0,35\nC;;0,3\n")
    assert rates["sim_episodes"].isna().all()
    assert rates.loc["A", "real_rate"] == 0.85
    assert set(rates.index[rates["real_rate"].notna()]) == {"A", "B"}
    assert "names no task" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_a_table_of_simulated_success_alone_is_none(tmp_path: Path) -> None:
    for text in (
        "policy,task,successes,episodes\nA,open,3,5\n",
        "policy,task,success,world\nA,open,true,drawer\n",
        "policy,task,sim_rate,real_name\nA,open,0.5,x\n",
    ):
        assert read_both_worlds(written(tmp_path, text)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policy,task,sim,real,sim_rate\nA,t,0.5,0.5,0.4\n", "both say simulated rate"),
        ("policy,task,sim,real\nA,t,0.5,\n", "has no row of real success"),
        ("policy,task,sim,real\nA,t,50,0.5\n", "row 2, column sim is '50', a rate must lie between 0 and 1"),
        ("policy,task,sim,real\nA,t,12/50,4/0.5\n", "row 2, column real is '4/0.5'"),
        ("policy,task,sim,real\nA,t,60/50,0.5\n", "row 2, column sim is 60, more than the 50 episodes"),
        (
            "policy,task,sim,sim_episodes,real\nA,t,0.5,50,0.5\nB,t,1/2,,0.5\n",
            "row 3, column sim is '1/2', and row 2 has '0.5'; write counts in all rows, or rates",
        ),
        (
            "policy,task,sim_successes,real\nA,t,5,0.5\n",
            "has the column sim_successes and none with the number of simulated episodes",
        ),
        ("policy,task,n_success,n_trials,world\nA,t,1,2,sim\nA,t,1,2,\n", "row 3, column world is empty"),
        (
            "policy,task,success,domain\nA,t,true,sim\nA,t,false,hardware\n",
            "row 3, column domain is 'hardware', and other rows have 'sim'; expected simulated or real in all",
        ),
        (
            "policy,task,success,world,domain\nA,t,true,drawer,sim\nA,t,false,drawer,robot\n",
            "row 3, column domain is 'robot', and other rows have 'sim'",
        ),
        ("task,sim,real\nt,0.5,0.5\n", "policy"),
        ("policy,task,sim_thing\nA,t,1\n", "Expected policy and task"),
    ],
)
def test_what_cannot_be_read_is_named(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(written(tmp_path, text)), "--out", str(tmp_path / "report")])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "report").exists()


def test_real_success_is_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = written(tmp_path, FRACTIONS)
    with pytest.raises(SystemExit):
        main(["report", str(table), "--real", str(table), "--out", str(tmp_path / "report")])
    assert "leave out --real" in capsys.readouterr().err
