"""Ranking by a race, on a suite of toy size."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import real2sim
from real2sim import cli
from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.batches import chosen_starts
from real2sim.evaluation.policy_sources import find_policies
from real2sim.evaluation.rank import Rounds, rank
from real2sim.evaluation.rank_config import RankConfig
from real2sim.evaluation.rank_result import rank_lines
from real2sim.evaluation.report_runs import ReportConfig, report_runs
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.report.racing import Round
from real2sim.simulation.suite import load_suite
from real2sim.success.compared import unproven
from real2sim.success.vlm_judge import VLMJudge
from real2sim.vid2world.load import SamplingOverrides
from tests.success.vlm_server import serving

POLICIES = ("early", "late", "replay:push")


def config(suite: Path, out: Path, **more: object) -> RankConfig:
    settings = {"policies": POLICIES, "suite": str(suite), "first": 2, "step": 2, "lanes": 2, "processes": 1}
    return RankConfig(out=out, **(settings | more))  # type: ignore[arg-type]


def command(suite: Path, out: Path, *more: str) -> list[str]:
    words = ["rank", "--out", str(out), "--suite", str(suite), "--first", "2", "--step", "2", "--lanes", "2"]
    return [*words, "--processes", "1", "--policies", *POLICIES, *more]


@pytest.fixture(scope="module")
def whole(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A race that was never interrupted."""
    out = tmp_path_factory.mktemp("races") / "whole"
    rank(config(tiny_suite, out, until="ranking"), progress=False)
    return out


def outcomes(run: Path) -> dict[str, tuple[bool, float]]:
    table = real2sim.load_run(run)
    return {row.episode: (row.success, row.probability) for row in table.itertuples()}


def test_a_race_makes_an_ordinary_run_that_knows_it_was_one(whole: Path) -> None:
    table = real2sim.load_run(whole)
    assert table["success"].notna().all()
    assert RunFolder(whole).settings()["race"] == {"until": "ranking", "alpha": 0.05}
    found = json.loads((whole / "ranking.json").read_text())
    assert found["episodes"] == len(table)
    assert {row["policy"] for row in found["policies"]} == set(POLICIES)
    for row in found["policies"]:
        own = table[table["policy"] == row["policy"]]
        assert (row["episodes"], row["rate"]) == (len(own), pytest.approx(own["success"].mean()))
        assert row["low"] <= row["rate"] <= row["high"]


def test_every_policy_of_a_round_meets_the_same_starts_with_the_same_seeds(whole: Path) -> None:
    table = real2sim.load_run(whole)
    assert (table.groupby(["task", "start"])["seed"].nunique() == 1).all()
    first = table[table["policy"] == "early"].groupby("task")["start"].apply(set)
    for policy in POLICIES:
        other = table[table["policy"] == policy].groupby("task")["start"].apply(set)
        for task in first.index:
            assert other[task] <= first[task] or first[task] <= other[task]


def test_giving_the_command_again_makes_nothing_new(tiny_suite: Path, whole: Path) -> None:
    before = [path.read_bytes() for path in sorted(whole.glob("rows-*.jsonl"))]
    again = rank(config(tiny_suite, whole, until="ranking"), progress=False)
    assert [path.read_bytes() for path in sorted(whole.glob("rows-*.jsonl"))] == before
    assert again.race.episodes == len(real2sim.load_run(whole))


@pytest.mark.slow
def test_a_race_that_was_killed_ends_as_one_that_was_not(
    tiny_suite: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    words = [sys.executable, "-m", "real2sim", *command(tiny_suite, out, "--until", "ranking")]
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 300
    while time.monotonic() < end and len(RunFolder(out).rows() if out.is_dir() else []) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(RunFolder(out).rows()) < len(RunFolder(whole).rows())
    rank(config(tiny_suite, out, until="ranking"), progress=False)
    assert outcomes(out) == outcomes(whole)
    assert (out / "ranking.json").read_text() == (whole / "ranking.json").read_text()


@pytest.mark.slow
def test_two_processes_run_the_same_race(tiny_suite: Path, whole: Path, tmp_path: Path) -> None:
    rank(config(tiny_suite, tmp_path / "two", until="ranking", processes=2), progress=False)
    assert outcomes(tmp_path / "two") == outcomes(whole)


@pytest.mark.slow
def test_processes_of_a_launcher_run_the_same_race(tiny_suite: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "launched"
    words = [sys.executable, "-m", "real2sim", *command(tiny_suite, out, "--until", "ranking")]
    processes = [
        subprocess.Popen(
            words, env={**os.environ, "RANK": str(r), "WORLD_SIZE": "2"}, stdout=subprocess.DEVNULL
        )
        for r in range(2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert outcomes(out) == outcomes(whole)


def test_another_question_uses_the_episodes_that_are_there(tiny_suite: Path, whole: Path) -> None:
    count = len(RunFolder(whole).rows())
    found = rank(config(tiny_suite, whole, until="best"), progress=False)
    assert len(RunFolder(whole).rows()) == count
    assert found.race.episodes <= count
    rank(config(tiny_suite, whole, until="ranking"), progress=False)


def test_a_budget_ends_a_race_and_is_said(tiny_suite: Path, tmp_path: Path) -> None:
    found = rank(config(tiny_suite, tmp_path / "a", until="ranking", budget=14), progress=False)
    assert found.race.episodes == 12
    assert found.ended == "out of budget"
    assert "12 episodes; evenly it would have been 36, out of budget: " in rank_lines(found)


def test_the_starts_of_a_race_are_drawn_in_an_order_of_the_seed(tiny_suite: Path, tmp_path: Path) -> None:
    suite = load_suite(tiny_suite)
    asked = RolloutConfig(out=tmp_path, starts=6, shuffled=True)
    order = [start.id for start in chosen_starts(suite, "open_drawer", asked)]
    assert order != sorted(order)
    assert set(order) == {start.id for start in suite.starts("open_drawer")}
    part = chosen_starts(suite, "open_drawer", replace(asked, skip=2, starts=5))
    assert [start.id for start in part] == order[2:5]
    other = chosen_starts(suite, "open_drawer", replace(asked, seed=1))
    assert [start.id for start in other] != order


def test_a_rollout_may_skip_starts(tiny_suite: Path, tmp_path: Path) -> None:
    asked = RolloutConfig(
        tmp_path / "a", ("early",), str(tiny_suite), ("open_drawer",), 3, skip=1, processes=1
    )
    assert rollout(asked, progress=False)["start"].tolist() == ["open_drawer-1", "open_drawer-2"]
    with pytest.raises(ValueError, match="skip must be at least 0 and below"):
        replace(asked, skip=3)


def test_the_report_of_a_race_says_that_it_was_one(tiny_suite: Path, whole: Path, tmp_path: Path) -> None:
    found = report_runs(ReportConfig(runs=(whole,), out=tmp_path / "report"))
    (said,) = (remark for remark in found.remarks if "race" in remark)
    assert "their levels do not hold exactly" in said
    assert "chance of any error at most 5 %" in said
    assert "chosen by a race" in (tmp_path / "report" / "report.html").read_text()


def test_an_even_run_is_not_said_to_be_a_race(tiny_suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "even"
    rollout(RolloutConfig(out, ("early",), str(tiny_suite), starts=1, processes=1), progress=False)
    from real2sim.evaluation.score_runs import ScoreConfig, score_runs

    score_runs(ScoreConfig(runs=(out,)))
    found = report_runs(ReportConfig(runs=(out,), out=tmp_path / "report"))
    assert not any("race" in remark for remark in found.remarks)


def test_a_policy_without_one_of_the_tasks_is_refused(tiny_suite: Path, tmp_path: Path) -> None:
    asked = config(tiny_suite, tmp_path / "a", policies=("early", "replay:pull"))
    with pytest.raises(ValueError, match="'replay:pull' cannot be asked for task 'close_drawer'"):
        rank(asked, progress=False)
    found = rank(replace(asked, tasks=("open_drawer",)), progress=False)
    assert set(found.policies) == {"early", "replay:pull"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--starts", "7"), "suite 'tiny' has 6 of every task"),
        (("--budget", "3"), "a budget of 3 episodes does not reach"),
        (("--alpha", "2"), "alpha must lie between 0 and 1"),
        (("--margin", "0"), "margin must lie between 0 and 100"),
        (("--step", "0"), "step must be at least 1"),
    ],
)
def test_impossible_races_end_with_one_sentence(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(command(tiny_suite, tmp_path / "a", *more))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_the_command_prints_groups_and_what_it_cost(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(command(tiny_suite, tmp_path / "a"))
    printed = capsys.readouterr().out
    assert "group  policy" in printed
    assert "episodes; evenly it would have been 36" in printed


def test_outcomes_that_a_world_knows_need_no_judge(tiny_suite: Path, tmp_path: Path) -> None:
    """Rows with outcomes are written by hand: the toy suite has no physics."""
    asked = config(tiny_suite, tmp_path / "a")
    rollout(asked.rollout(POLICIES, 0, 2), progress=False)
    path = tmp_path / "a" / "rows-0.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    known = [row | {"success": row["policy"] == "late", "judge": "physics"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in known))
    from contextlib import ExitStack

    suite = load_suite(tiny_suite)
    with ExitStack() as stack:
        sources = find_policies(POLICIES, suite)
        rounds = Rounds(asked, suite, sources, ("close_drawer", "open_drawer"), None, False, stack)
        found = rounds.outcomes(Round((0, 1, 2), 0, 2))
    np.testing.assert_array_equal(found, np.broadcast_to([0, 1, 0], (2, 2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("unsure", ["never", "two", "always"])
def test_a_vision_language_model_judges_a_race_and_pairs_skip_starts_without_a_verdict(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], unsure: str
) -> None:
    def reply(request: dict[str, object], number: int) -> str:
        silent = unsure == "always" or (unsure == "two" and number in (0, 3))
        return "I cannot tell." if silent else '{"success": true}'

    with serving(reply) as stub:
        address = f"openai:{stub.url}#model=stub&concurrency=1"
        words = command(tiny_suite, tmp_path / "race", "--judge", address, "--starts", "2")
        if unsure == "always":
            with pytest.raises(SystemExit) as ended:
                cli.main(words)
            assert ended.value.code == 2
            assert "stub has no verdict on any of the 2 episodes of policy 'early'" in capsys.readouterr().err
            return
        cli.main(words)
        said, asked = capsys.readouterr().out, len(stub.requests)
        cli.main(words)
        assert len(stub.requests) == asked, "answers are kept"
    table = real2sim.load_run(tmp_path / "race")
    ranking = json.loads((tmp_path / "race/ranking.json").read_text())
    silent = 0 if unsure == "never" else 2
    assert table["success"].isna().sum() == silent
    assert table["success"].dropna().all()
    assert sum(row["episodes"] - row["judged"] for row in ranking["policies"]) == silent
    assert all(row["rate"] == 1 for row in ranking["policies"])
    assert ("has no verdict on 2 episodes (2 of early)" in said) == (silent == 2)
    assert unproven(tmp_path / "race", "stub", {VLMJudge.from_address(address).digest})


def test_a_finished_race_notices_damaged_episodes_and_other_options(
    whole: Path, tiny_suite: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "race"))
    again = config(tiny_suite, out, until="ranking")
    first, second, *_ = sorted((out / "episodes").iterdir())
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[0][:100])
    second.unlink()
    rank(again, progress=False)
    assert "the episode is drawn again" in caplog.text
    assert outcomes(out) == outcomes(whole)
    assert first.stat().st_size == len(content[0]) and second.stat().st_size == len(content[1])
    with pytest.raises(ValueError, match=r"run.json was made with seed = 0, now 1"):
        rank(replace(again, seed=1), progress=False)
    with pytest.raises(ValueError, match="was made with world"):
        rank(replace(again, sampling=SamplingOverrides(guidance=2.0)), progress=False)
