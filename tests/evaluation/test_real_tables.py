"""Real success comes as rates, as single trials, from SIMPLER's tables or from a run in physics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from real2sim.cli import main
from real2sim.evaluation.real_tables import real_tables

TRIALS = "policy,task,start,success\na,push,1,true\na,push,2,false\na,push,3,success\nb,push,1,0\nb,push,2,unclear\n"


def test_single_trials_become_counts_and_keep_their_starts(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    path.write_text(TRIALS)
    tables = real_tables(path)
    assert tables.rates[["policy", "task", "successes", "episodes"]].values.tolist() == [
        ["a", "push", 2, 3],
        ["b", "push", 0, 1],
    ]
    assert tables.episodes is not None and len(tables.episodes) == 4


def test_trials_without_starts_give_counts_only(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    path.write_text("policy;task;success\na;push;true\na;push;false\n")
    tables = real_tables(path, match=("mine=a",))
    assert tables.rates[["policy", "successes", "episodes"]].values.tolist() == [["mine", 1, 2]]
    assert tables.episodes is None


def test_names_that_do_not_match_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("policy,task,successes,episodes\na,push,1,2\nb,push,2,2\n")
    assert set(real_tables(path, match=("shove=push",)).rates["task"]) == {"shove"}
    with pytest.raises(ValueError, match="has neither a task nor a policy 'pusch'; did you mean 'push'"):
        real_tables(path, match=("shove=pusch",))
    with pytest.raises(ValueError, match="has a policy 'b' already"):
        real_tables(path, match=("b=a",))
    with pytest.raises(ValueError, match="--match is 'push', expected OURS=THEIRS"):
        real_tables(path, match=("push",))
    with pytest.raises(ValueError, match=r"names no robot of the SIMPLER study; .*simpler:google_robot"):
        real_tables("simpler:google")
    with pytest.raises(FileNotFoundError, match="which is no file"):
        real_tables(tmp_path / "none.csv")


def test_a_run_whose_world_knows_its_outcomes_is_real_enough(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"format": 1, "identity": {}}))
    rows = [
        {"episode": f"{policy}-{start}", "policy": policy, "task": "push", "start": str(start), "world": "mujoco",
         "success": start < limit, "probability": float(start < limit), "judge": "mujoco"}
        for policy, limit in (("a", 3), ("b", 1)) for start in range(4)
    ]  # fmt: skip
    (run / "rows-0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables = real_tables(run)
    assert tables.rates[["policy", "successes", "episodes"]].values.tolist() == [["a", 3, 4], ["b", 1, 4]]
    assert tables.episodes is not None and len(tables.episodes) == 8


def test_tables_alone_are_enough_for_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulated, trials = tmp_path / "simulated.csv", tmp_path / "trials.csv"
    rows = [("a", 9), ("b", 5), ("c", 1)]
    simulated.write_text(
        "policy,task,successes,episodes\n" + "".join(f"{name},push,{k},10\n" for name, k in rows)
    )
    lines = [f"{name},shove,{i < k}" for name, k in (("a", 8), ("b", 6), ("c", 0)) for i in range(10)]
    trials.write_text("\n".join(["policy,task,success", *lines]) + "\n")
    main(f"report {simulated} --out {tmp_path / 'out'} --real {trials} --match push=shove".split())
    said = capsys.readouterr().out
    assert "simulated  90% (9/10)  real  80% (8/10)" in said
    assert (tmp_path / "out" / "report.html").is_file()
    with pytest.raises(SystemExit):
        main(f"report {simulated} {simulated} --out {tmp_path / 'two'}".split())
    assert "give it alone, or run folders" in capsys.readouterr().err
