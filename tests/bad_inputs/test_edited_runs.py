"""Rows, settings and robots of a run that were edited after it was drawn are noticed by every command."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from damage import edit_json

from real2sim.cli import main
from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.episodes.rows import read_scores
from real2sim.episodes.run_folder import RunFolder, load_run
from real2sim.success.score import score_row

Refused = Callable[..., str]
COMMANDS = ("rollout", "score", "report")


def words(command: str, run: Path, suite: Path, tmp_path: Path) -> list[str]:
    return {
        "rollout": ["rollout", "--out", str(run), "--suite", str(suite), "--starts", "2", "--processes", "1",
                    "--lanes", "2", "--policies", "random", "late"],
        "score": ["score", str(run)],
        "report": ["report", str(run), "--out", str(tmp_path / "report")],
    }[command]  # fmt: skip


def edit_row(run: Path, line: int, **changes: Any) -> None:
    path = run / "rows-0.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[line]) | changes
    lines[line] = json.dumps({name: value for name, value in row.items() if value is not ...})
    path.write_text("\n".join(lines) + "\n")


EDITS: list[tuple[dict[str, Any], str]] = [
    ({"task": "nowhere"}, "says task 'nowhere' and start 'close_drawer-1'"),
    ({"task": "open_drawer"}, "says task 'open_drawer' and start 'close_drawer-1'"),
    ({"start": "close_drawer-0"}, "says task 'close_drawer' and start 'close_drawer-0'"),
    ({"policy": "late"}, "has kind 'random', run.json says 'rt1' of policy 'late'"),
    ({"policy": "else"}, "is of policy 'else', run.json lists random, late"),
    ({"kind": "rt1"}, "has kind 'rt1', run.json says 'random'"),
    ({"suite": "kitchen"}, "has suite 'kitchen', run.json says 'tiny'"),
    ({"instruction": "dance"}, "says instruction 'dance', its start has 'close drawer'"),
    ({"seed": 7}, "says seed 7, the run's seed gives"),
    ({"steps": 3}, "ended without being terminated after 3 steps, its task has 5"),
    ({"steps": 10**9}, "ended after 1000000000 steps, its task has 5"),
    ({"steps": ...}, "has no field steps"),
    ({"seed": ...}, "has no field seed"),
    ({"terminated": True}, "says both that the policy ended it and that the horizon cut it"),
    ({"truncated": False}, "says neither that the policy ended it nor that the horizon cut it"),
    ({"set": "scripted"}, "is of set 'scripted', a policy of kind 'random' of set 'policies'"),
    ({"episode": "mine"}, "whose episode is called 'random-close_drawer-close_drawer-1-"),
    ({"family": "else"}, "has family 'else', run.json says 'random' of policy 'random'"),
    ({"world": "mujoco"}, "was drawn in world 'mujoco', run.json says 'world_model'"),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("changes", "sentence"), EDITS)
def test_an_edited_row_is_named_by_file_and_line(
    run: Path, tiny_suite: Path, tmp_path: Path, refused: Refused, command: str, changes: Any, sentence: str
) -> None:
    edit_row(run, 1, **changes)
    said = refused(*words(command, run, tiny_suite, tmp_path), about=sentence)
    assert f"{run / 'rows-0.jsonl'}, line 2: episode" in said
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("noted", [True, False])
def test_a_policy_of_another_training_run_than_before_is_refused(
    run: Path, tiny_suite: Path, tmp_path: Path, refused: Refused, noted: bool
) -> None:
    if not noted:
        edit_json(run / "run.json", "families", ...)
    *command, _ = words("rollout", run, tiny_suite, tmp_path)
    said = (
        "policy 'late' comes from training run 'one-run', now it is 'other'; write one-run:late=place as then"
    )
    place = tiny_suite / "policies" / "late"
    refused(*command, f"other:late={place}", about=said)
    for line in range(8):
        edit_row(run, line, family="else")
    refused(*command, "late", about="has family 'else'" if noted else "comes from training run 'else'")


@pytest.mark.parametrize("form", ["no newline at the end", "blank lines", "Windows", "blank line at the end"])
def test_rows_that_an_editor_has_saved_in_its_way_count(
    run: Path, tiny_suite: Path, tmp_path: Path, form: str
) -> None:
    before = load_run(run).drop(columns="seconds")
    for path in (run / "rows-0.jsonl", run / "scores-classifier.jsonl"):
        content = path.read_bytes()
        changed = {
            "no newline at the end": content[:-1],
            "blank lines": content.replace(b"\n", b"\n\n"),
            "Windows": content.replace(b"\n", b"\r\n"),
            "blank line at the end": content + b"\n",
        }
        path.write_bytes(changed[form])
    pd.testing.assert_frame_equal(load_run(run).drop(columns="seconds"), before)
    grown = words("rollout", run, tiny_suite, tmp_path)
    grown[grown.index("--starts") + 1] = "3"
    main(grown)
    main(["score", str(run)])
    rows = RunFolder(run).rows()
    assert len(rows) == 12
    content = (run / "rows-0.jsonl").read_bytes()
    assert len([line for line in content.split(b"\n") if line.strip()]) == 12, "nothing was drawn twice"
    assert load_run(run)["success"].notna().all()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", ["edited", "broken"])
def test_an_edited_robot_of_a_run_is_named(
    run: Path, tiny_suite: Path, tmp_path: Path, refused: Refused, command: str, damage: str
) -> None:
    path = run / "robot.json"
    edit_json(path, "control_hz", 17.0) if damage == "edited" else path.write_text("{")
    refused(*words(command, run, tiny_suite, tmp_path), about=str(path))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("field", ["suite", "world", "seed", "policies"])
def test_settings_of_a_rollout_without_their_identity_are_named(
    run: Path, tiny_suite: Path, tmp_path: Path, refused: Refused, command: str, field: str
) -> None:
    edit_json(run / "run.json", f"identity.{field}", ...)
    refused(
        *words(command, run, tiny_suite, tmp_path),
        about=f"{run / 'run.json'}: field identity.{field} is missing",
    )


@pytest.mark.parametrize("command", ["score", "report"])
def test_a_seed_of_a_run_that_its_rows_do_not_have_is_noticed(
    run: Path, tiny_suite: Path, tmp_path: Path, refused: Refused, command: str
) -> None:
    edit_json(run / "run.json", "identity.seed", 7)
    refused(*words(command, run, tiny_suite, tmp_path), about="the run's seed gives")


def test_an_episode_of_another_length_than_its_row_says_is_not_judged(run: Path, refused: Refused) -> None:
    path = next((run / "episodes").glob("random-*"))
    arrays = read_arrays(path)
    write_arrays(path, {"frames": arrays["frames"][:-1], "actions": arrays["actions"][:-1]})
    (run / "scores-classifier.jsonl").unlink()
    said = refused("score", str(run), about=str(path))
    assert "as its row says 5 steps" in said


def test_rows_of_other_programs_need_no_more_than_their_names(
    tiny_run: Path, tiny_suite: Path, tmp_path: Path
) -> None:
    judge = str(tiny_suite / "judge")
    main(["score", str(tiny_run), "--judge", judge])
    assert (tiny_run / "scores-classifier.jsonl").is_file()


def test_a_run_that_is_named_twice_does_not_count_twice(run: Path, tmp_path: Path, refused: Refused) -> None:
    for command in (["score"], ["report", "--out", str(tmp_path / "report")]):
        refused(*command, str(run), f"{run}/../{run.name}", about="is named twice")


def test_labels_of_other_episodes_are_said(
    run: Path, tmp_path: Path, refused: Refused, caplog: pytest.LogCaptureFixture
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("episode,label\nelsewhere,success\n")
    refused("score", str(run), "--judge", str(labels), about="labels 'elsewhere' and no episode of")
    here = json.loads((run / "rows-0.jsonl").read_text().splitlines()[0])["episode"]
    labels.write_text(f"episode,label\nelsewhere,success\n{here},failure\n")
    main(["score", str(run), "--judge", str(labels)])
    assert "labels 1 episodes that are not in the runs, among them elsewhere" in caplog.text


def test_a_suite_that_is_gone_is_said_where_its_real_rates_are_missing(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit_json(run / "run.json", "config.suite", str(tmp_path / "gone"))
    main(["report", str(run), "--out", str(tmp_path / "report")])
    assert "is not here, so its real rates are missing; name a table with --real" in caplog.text


def test_a_judge_whose_numbers_overflow_gives_no_verdict_but_a_sentence(
    run: Path, suite: Path, refused: Refused
) -> None:
    from damage import edit_tensors

    def change(tensors: dict[str, Any]) -> None:
        for name in tensors:
            tensors[name] = tensors[name] * 0 + np.float32(3e38)

    edit_tensors(suite / "judge" / "model.safetensors", change)
    refused("score", str(run), "--judge", str(suite / "judge"), about="answers NaN or infinity")


CELLS = {"true_success": 3, "false_failure": 1, "false_success": 0, "true_failure": 4, "episodes": 8}
KEPT: list[tuple[str, dict[str, Any], str, Any]] = [
    ("run/ranking.json", {"policies.0": {}}, "policies.0", "is missing"),
    ("run/ranking.json", {"policies.0.policy": 1.5}, "policies.0.policy", "expected a valid string"),
    ("run/ranking.json", {"policies.1.group": []}, "policies.1.group", "expected a valid integer"),
    ("run/ranking.json", {"alpha": []}, "alpha", "expected a valid number"),
    ("suite/judge/quality.json", {"physics": None}, "physics", "expected an object"),
    ("suite/judge/quality.json", {"judge_digest": {}}, "judge_digest", "expected a valid string"),
    (
        "suite/judge/quality.json",
        {"physics.close drawer.true_failure": 10**19},
        "true_failure",
        "less than or equal to",
    ),
    ("suite/judge/quality.json", {"physics.close drawer": 0}, "physics.close drawer", "expected an object"),
    (
        "run/judge-classifier.json",
        {"labelled.close_drawer": 3},
        "labelled.close_drawer",
        "expected an object",
    ),
    ("run/judge-classifier.json", {"labelled.close_drawer.true_failure": ...}, "true_failure", "is missing"),
    ("run/judge-classifier.json", {"labelled.all": ...}, "labelled", "no counts of all episodes"),
    ("run/run.json", {"config.seed": "x"}, "seed", "expected a valid integer"),
    ("run/run.json", {"config.lanes": []}, "lanes", "field lanes is []"),
    ("run/run.json", {"config.sampling.eta": "x"}, "sampling.eta", "expected a valid number"),
]


@pytest.mark.parametrize(("file", "edits", "field", "sentence"), KEPT)
def test_what_a_report_reads_beside_the_rows_is_read_strictly(
    run: Path, suite: Path, tmp_path: Path, refused: Refused, file: str, edits: Any, field: str, sentence: str
) -> None:
    edit_json(run / "run.json", "config.suite", str(suite))
    digest = json.loads((run / "scores-classifier.jsonl").read_text().splitlines()[0])["judge_digest"]
    groups = [{"policy": "late", "group": 1}, {"policy": "random", "group": 2}]
    cells = {"all": CELLS, "close drawer": CELLS, "close_drawer": CELLS}
    edit_json(run / "run.json", "race", {"until": "ranking", "alpha": 0.05})
    for name, values in {
        "run/ranking.json": {"until": "ranking", "alpha": 0.05, "best": ["late"], "policies": groups},
        "suite/judge/quality.json": {"judge_digest": digest, "physics": cells},
        "run/judge-classifier.json": {"judge_digest": digest, "kind": "judge", "labelled": cells},
    }.items():
        (tmp_path / name).write_text(json.dumps(values))
    for place, value in edits.items():
        edit_json(tmp_path / file, place, value)
    said = refused("report", str(run), "--out", str(tmp_path / "report"), about=str(tmp_path / file))
    assert field in said
    assert sentence in said
    assert not (tmp_path / "report").exists()


def other_frames(run: Path) -> Path:
    """Turn the colours of an episode's frames round, whose shape and actions stay."""
    path = sorted((run / "episodes").glob("*.npz"))[0]
    arrays = read_arrays(path)
    write_arrays(path, {**arrays, "frames": 255 - arrays["frames"]})
    later = time.time() + 10
    os.utime(path, (later, later))
    return path


def test_edited_frames_of_the_right_shape_are_noticed_by_score(run: Path, refused: Refused) -> None:
    for scores in run.glob("scores-*"):
        scores.unlink()
    path = other_frames(run)
    said = refused("score", run, about=str(path))
    assert "does not hold the frames and actions that were written" in said


def test_edited_frames_are_drawn_anew_by_the_rollout(run: Path, tiny_suite: Path, tmp_path: Path) -> None:
    whole = {path.name: read_arrays(path)["frames"] for path in (run / "episodes").glob("*.npz")}
    path = other_frames(run)
    main(words("rollout", run, tiny_suite, tmp_path))
    np.testing.assert_array_equal(read_arrays(path)["frames"], whole[path.name])


def test_a_run_of_an_older_version_has_no_checksums_and_is_scored(run: Path) -> None:
    for scores in run.glob("scores-*"):
        scores.unlink()
    for line in range(len((run / "rows-0.jsonl").read_text().splitlines())):
        edit_row(run, line, checksum=...)
    other_frames(run)
    main(["score", str(run)])
    assert list(run.glob("scores-*"))


def test_a_score_may_leave_out_its_judge(run: Path) -> None:
    path = run / "scores-classifier.jsonl"
    before = path.read_text()
    path.write_text(before.replace('"judge": "classifier", ', "", 1))
    main(["score", str(run)])
    assert path.read_text() == before


def edit_score(run: Path, line: int, **changes: Any) -> None:
    path = run / "scores-classifier.jsonl"
    lines = path.read_text().splitlines()
    lines[line] = json.dumps(json.loads(lines[line]) | changes)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("probability", [0.1, 0.9])
def test_a_verdict_that_contradicts_its_probability_is_named(
    run: Path, tiny_suite: Path, tmp_path: Path, refused: Refused, probability: float
) -> None:
    edit_score(run, 2, success=probability < 0.5, probability=probability)
    said = refused(*words("report", run, tiny_suite, tmp_path), about=f"and probability {probability}, which")
    assert f"{run / 'scores-classifier.jsonl'}, line 3: success is" in said


def test_a_probability_just_below_a_half_is_a_failure_however_it_is_rounded(tmp_path: Path) -> None:
    row = score_row("a", "classifier", "0", 0.49999999)
    assert row["success"] is False
    (tmp_path / "scores.jsonl").write_text(json.dumps(row) + "\n")
    assert list(read_scores(tmp_path / "scores.jsonl")) == [row]


def test_episodes_that_were_not_scored_are_counted_in_a_report(run: Path) -> None:
    from real2sim.evaluation.report_runs import scored_episodes

    edit_score(run, 2, episode="of-another-run")
    episodes = scored_episodes((run,))
    assert (len(episodes), int(episodes["success"].isna().sum())) == (8, 1)
    assert set(episodes["judge"]) == {"classifier"}


def test_a_run_whose_state_comes_from_nowhere(
    run: Path, tiny_suite: Path, tmp_path: Path, refused: Refused
) -> None:
    edit_json(run / "run.json", "state", "odd")
    refused(*words("report", run, tiny_suite, tmp_path), about='field state is "odd", expected')
