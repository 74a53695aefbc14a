"""Episodes without a clear verdict are left out, or failures as in Vid2World's paper; the page says which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from real2sim.cli import main
from real2sim.evaluation.real_tables import real_tables
from real2sim.report.report import make_report
from real2sim.success.labels import HumanLabels

TABLE = pd.DataFrame(
    {
        "policy": ["a"] * 4 + ["b"] * 4,
        "task": "t",
        "success": ["success", "success", "unclear", "", "success", "failure", "unclear", "unclear"],
    }
)


def rates(table: pd.DataFrame, **options) -> dict[str, tuple[float, float]]:
    found = make_report(table, **options).rates
    return {row.policy: (row.sim_successes, row.sim_episodes) for row in found.itertuples()}


def test_unclear_labels_are_left_out_unless_they_are_to_be_failures() -> None:
    assert rates(TABLE) == {"a": (2, 2), "b": (1, 2)}
    assert rates(TABLE, unclear="failure") == {"a": (2, 3), "b": (1, 4)}


def test_verdicts_that_a_judge_could_not_give_are_unclear_and_unscored_episodes_are_not() -> None:
    table = TABLE.assign(judge="network", success=TABLE["success"].replace({"unclear": None, "": None}))
    table.loc[3, "judge"] = None
    assert rates(table, unclear="failure") == {"a": (2, 3), "b": (1, 4)}
    assert rates(table) == {"a": (2, 2), "b": (1, 2)}


def test_the_page_says_how_many_count_as_failures(tmp_path: Path) -> None:
    made = make_report(TABLE, unclear="failure", out=tmp_path)
    assert any(
        "3 of 8 simulated episodes have no clear verdict and count as failures" in r for r in made.remarks
    )
    assert "counted as failures" in (tmp_path / "report.html").read_text()
    make_report(TABLE, out=tmp_path)
    assert "left out of every rate" in (tmp_path / "report.html").read_text()


def test_real_trials_follow_the_same_rule(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    TABLE.to_csv(path, index=False)
    assert real_tables(path).rates["episodes"].tolist() == [2, 2]
    assert real_tables(path, unclear="failure").rates["episodes"].tolist() == [3, 4]


def test_labels_with_unclear_as_failure_are_another_judge() -> None:
    labels = HumanLabels({"x": "success", "y": "unclear"})
    strict = labels.unclear_as_failures()
    assert (strict.name, strict.digest) != (labels.name, labels.digest)
    found = strict.judge(["x", "y", "z"], [], [])
    assert found[:2].tolist() == [1, 0]
    assert np.isnan(found[2])


def test_commands_score_and_report_by_the_rule(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, labels = tmp_path / "run", tmp_path / "labels.csv"
    options = ["--starts", "2", "--suite", str(tiny_suite), "--processes", "1", "--policies", "early", "late"]
    main(["rollout", "--out", str(run), *options])
    from real2sim.episodes.run_folder import RunFolder

    episodes = [str(row["episode"]) for row in RunFolder(run).rows()]
    words = ["success", "unclear", "failure", *["success"] * (len(episodes) - 4), ""]
    labels.write_text(
        "episode,label\n" + "\n".join(f"{e},{w}" for e, w in zip(episodes, words, strict=True)) + "\n"
    )
    with pytest.raises(SystemExit):
        main(["score", str(run), "--unclear", "failure"])
    assert "people's labels" in capsys.readouterr().err
    main(["score", str(run), "--judge", str(labels)])
    report = ["report", str(run), "--out", str(tmp_path / "report")]
    with pytest.raises(SystemExit):
        main([*report, "--unclear", "failure"])
    assert "score" in capsys.readouterr().err
    main(["score", str(run), "--judge", str(labels), "--unclear", "failure"])
    main([*report, "--judge", "human-unclear-is-failure"])
    said = capsys.readouterr().out
    assert f"/{len(episodes) // 4}" in said
    table = pd.read_csv(tmp_path / "report" / "report.csv")
    assert table["sim_episodes"].sum() == len(episodes) - 1
    assert table["sim_successes"].sum() == words.count("success")


@pytest.mark.slow
def test_runs_stand_side_by_side_where_that_is_asked_for(tiny_suite: Path, tmp_path: Path) -> None:
    runs = [str(tmp_path / name) for name in ("first", "second")]
    for seed, run in enumerate(runs):
        options = [
            "--starts",
            "2",
            "--suite",
            str(tiny_suite),
            "--processes",
            "1",
            "--policies",
            "early",
            "late",
        ]
        main(["rollout", "--out", run, "--seed", str(seed), *options])
    main(["score", *runs])
    main(["report", *runs, "--out", str(tmp_path / "report"), "--side-by-side"])
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Side by side" in page
    assert f"policies in {runs[1]}" in page
