"""The page that browses a run, over HTTP."""

from __future__ import annotations

import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from real2sim.built_in import ASSETS
from real2sim.cli import main
from real2sim.episodes.run_folder import VALIDITY
from real2sim.pages.beside import real_outcomes
from real2sim.pages.run_index import Filter, RunIndex
from real2sim.pages.view_page import RunView, ViewConfig, view_app
from tests.pages.conftest import MakeRun

ADDRESS = "http://127.0.0.1:8766"


def client(run: Path, other: Path | None = None) -> TestClient:
    return TestClient(view_app(RunView(ViewConfig(run, other))), base_url=ADDRESS)


def asked(page: TestClient, path: str, **query: Any) -> dict[str, Any]:
    answer = page.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def names(part: dict[str, Any]) -> list[str]:
    return [row["episode"] for row in part["rows"]]


def test_what_can_be_chosen_is_listed(make_run: MakeRun) -> None:
    facts = asked(client(make_run()), "/api/facts")
    (run,) = facts["runs"]
    assert run["episodes"] == 12
    assert run["policies"] == ["early", "late"]
    assert run["tasks"] == ["close_drawer", "open_drawer"]
    assert run["judges"] == ["classifier"]
    assert run["validity"] == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 12),
        ({"policy": "late"}, 6),
        ({"task": "open_drawer"}, 6),
        ({"policy": "late", "task": "open_drawer", "start": "open_drawer-1"}, 1),
        ({"verdict": "success"}, 2),
        ({"verdict": "failure"}, 6),
        ({"verdict": "no verdict"}, 4),
        ({"verdict": "not scored"}, 0),
        ({"policy": "nobody"}, 0),
    ],
)
def test_episodes_are_filtered(make_run: MakeRun, query: dict[str, str], expected: int) -> None:
    part = asked(client(make_run()), "/api/episodes", **query)
    assert part["total"] == len(part["rows"]) == expected
    for row in part["rows"]:
        assert all(row[name] == value for name, value in query.items())


def test_a_run_without_scores_and_one_with_two_judges(make_run: MakeRun) -> None:
    bare = client(make_run("bare", scored=False))
    assert asked(bare, "/api/facts")["runs"][0]["judges"] == []
    assert {row["verdict"] for row in asked(bare, "/api/episodes")["rows"]} == {"not scored"}
    run = make_run("judged")
    human = {"episode": "late-close_drawer-2", "judge": "human", "success": True, "probability": 1.0}
    (run / "scores-human.jsonl").write_text(json.dumps(human) + "\n")
    page = client(run)
    assert asked(page, "/api/facts")["runs"][0]["judges"] == ["classifier", "human"]
    assert names(asked(page, "/api/episodes", verdict="success", judge="human")) == ["late-close_drawer-2"]
    assert asked(page, "/api/episodes", verdict="not scored", judge="human")["total"] == 11
    assert asked(page, "/api/episodes", verdict="success")["total"] == 2


def test_validity_is_shown_where_a_gate_has_looked(make_run: MakeRun) -> None:
    run = make_run()
    checked = [
        {
            "episode": f"late-{task}_drawer-{start}",
            "valid": start != 1,
            "invalid_from": 3 if start == 1 else None,
            "validity_score": 2.0 if start == 1 else 0.1,
            "gate": "gate",
            "gate_digest": "x",
        }
        for task in ("open", "close")
        for start in range(3)
    ]
    (run / VALIDITY).write_text("".join(json.dumps(row) + "\n" for row in checked))
    page = client(run)
    assert asked(page, "/api/facts")["runs"][0]["validity"] == ["valid", "invalid", "not checked"]
    invalid = asked(page, "/api/episodes", validity="invalid")
    assert names(invalid) == ["late-close_drawer-1", "late-open_drawer-1"]
    assert {row["invalid_from"] for row in invalid["rows"]} == {3}
    assert asked(page, "/api/episodes", validity="valid")["total"] == 4
    assert asked(page, "/api/episodes", validity="not checked")["total"] == 6
    assert page.get("/api/episodes", params={"validity": "odd"}).status_code == 400


def test_a_long_list_is_sent_in_parts(make_run: MakeRun) -> None:
    page = client(make_run())
    whole = names(asked(page, "/api/episodes"))
    parts = [asked(page, "/api/episodes", offset=offset, limit=5) for offset in (0, 5, 10, 15)]
    assert [len(part["rows"]) for part in parts] == [5, 5, 2, 0]
    assert [name for part in parts for name in names(part)] == whole
    assert {part["total"] for part in parts} == {12}
    assert (parts[0]["successes"], parts[0]["verdicts"]) == (2, 8)
    for limit in ("0", "201", "1e9", "-1", "x", "9" * 30):
        answer = page.get("/api/episodes", params={"limit": limit})
        assert answer.status_code == 400
        assert "expected a whole number from 1 to 200" in answer.json()["error"]


def test_a_seed_keeps_all_its_digits(make_run: MakeRun) -> None:
    row = asked(client(make_run()), "/api/episode", episode="late-close_drawer-0")["episode"]
    assert row["seed"] == "2615525874302271278"


def test_other_policies_from_the_same_start_stand_beside(make_run: MakeRun) -> None:
    found = asked(client(make_run()), "/api/episode", episode="late-close_drawer-0")
    assert found["episode"]["verdict"] == "success"
    assert [(other["episode"], other["relation"], other["verdict"]) for other in found["beside"]] == [
        ("early-close_drawer-0", "other policy", "failure")
    ]


def test_physics_and_the_same_policy_of_another_run_come_first(make_run: MakeRun) -> None:
    run = make_run("simulated")
    page = client(run, make_run("physics", world="mujoco"))
    beside = asked(page, "/api/episode", episode="late-open_drawer-1")["beside"]
    assert [(other["run"], other["policy"], other["relation"]) for other in beside] == [
        (1, "late", "real"),
        (0, "early", "other policy"),
        (1, "early", "other policy"),
    ]
    page = client(run, make_run("again", policies=("late",)))
    beside = asked(page, "/api/episode", episode="late-open_drawer-1")["beside"]
    assert [(other["run"], other["relation"]) for other in beside] == [(1, "other run"), (0, "other policy")]
    only = asked(page, "/api/episodes", run=1)
    assert only["total"] == 6


def test_recordings_of_the_suites_dataset_stand_beside(make_run: MakeRun, tmp_path: Path) -> None:
    run, dataset = make_run(), tmp_path / "recordings"
    dataset.mkdir()
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    frames[:, 0, 0] = 2
    np.savez(dataset / "open_drawer-2.npz", image=frames, action=np.zeros((4, 13), np.float32))
    np.savez(dataset / "open_drawer-1.npz", image=frames, action=np.zeros((4, 13), np.float32))
    page = client(run, dataset)
    assert asked(page, "/api/facts")["dataset"] == "recordings"
    first = asked(page, "/api/episode", episode="early-open_drawer-2")["beside"][0]
    assert (first["run"], first["episode"], first["relation"]) == ("recorded", "open_drawer-2", "recorded")
    assert asked(page, "/api/layout", run="recorded", episode="open_drawer-2")["frames"] == 4
    # A file of the right name that begins with another frame is no recording of this start.
    beside = asked(page, "/api/episode", episode="early-open_drawer-1")["beside"]
    assert [other["relation"] for other in beside] == ["other policy"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", "[]", "run.json"),
        (
            "run.json",
            '{"format": 1, "identity": {}, "config": {"suite": "nowhere"}}',
            "'nowhere' is neither a shipped suite",
        ),
        ("suite/real_episodes.csv", "policy,task\nlate,close_drawer\n", "real_episodes.csv"),
    ],
)
def test_why_real_outcomes_are_missing_is_said(
    make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: str, said: str
) -> None:
    run = make_run()
    folder = Path(
        shutil.copytree(
            ASSETS / "drawer", tmp_path / "suite", ignore=shutil.ignore_patterns("*policies", "*model")
        )
    )
    settings = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(settings | {"config": {"suite": str(folder)}}))
    ((run if name == "run.json" else tmp_path) / name).write_text(content)
    assert real_outcomes(run) == {}
    (message,) = caplog.messages
    assert message.startswith("real outcomes are not shown: ")
    assert said in message


def test_real_outcomes_of_the_suite_are_told(make_run: MakeRun, tmp_path: Path) -> None:
    from real2sim.simulation.suite import Start, SuiteConfig, Task, write_suite

    run = make_run()
    task = Task("close_drawer", "close drawer", 5)
    start = Start(task, "close_drawer-0", np.zeros((64, 64, 3), np.uint8))
    write_suite(tmp_path / "suite", SuiteConfig(name="toy", tasks=(task,)), {"close_drawer": [start]})
    (tmp_path / "suite" / "real_episodes.csv").write_text(
        "policy,task,start,success\nlate,close_drawer,close_drawer-0,True\nlate,close_drawer,close_drawer-0,False\n"
        "late,close_drawer,close_drawer-0,\n"
    )
    settings = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(settings | {"config": {"suite": str(tmp_path / "suite")}}))
    page = client(run)
    assert asked(page, "/api/facts")["real"] is True
    found = asked(page, "/api/episode", episode="late-close_drawer-0")["episode"]
    assert found["real"] == {"successes": 1, "trials": 2}
    assert asked(page, "/api/episode", episode="early-close_drawer-0")["episode"]["real"] is None


def test_verdicts_that_no_real_episode_confirms_are_found(make_run: MakeRun) -> None:
    ends = {0: (True, False), 1: (True,), 2: (True,)}
    real = {("late", "close_drawer", f"close_drawer-{start}"): known for start, known in ends.items()}
    real[("early", "close_drawer", "close_drawer-0")] = (False, False)
    index = RunIndex(make_run(), real)
    found = {kind: names(index.part(Filter(reality=kind), 0, 50)) for kind in index.facts()["reality"]}
    assert found["as in reality"] == ["early-close_drawer-0", "late-close_drawer-0"]
    assert found["unlike reality"] == ["late-close_drawer-1"]
    assert len(found["not known"]) == 9
    assert RunIndex(make_run("other")).facts()["reality"] == ()


def test_frames_come_as_png(make_run: MakeRun) -> None:
    page = client(make_run())
    layout = asked(page, "/api/layout", episode="late-close_drawer-1")
    assert (layout["frames"], layout["height"], layout["width"]) == (6, 8, 8)
    answer = page.get("/frames.png", params={"episode": "late-close_drawer-1", "sheet": 0})
    sheet = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert sheet[4, 4].tolist() == [0, 0, 0]
    assert sheet[8 * (5 // layout["columns"]) + 4, 8 * (5 % layout["columns"]) + 4].tolist() == [
        200,
        200,
        200,
    ]
    assert page.get("/frames.png", params={"episode": "late-close_drawer-1", "sheet": 1}).status_code == 404


@pytest.mark.parametrize(
    "name",
    ["", "nobody", "../rows-0", "late-close_drawer-0.npz", "/etc/passwd", "..", "late-close_drawer-0\0"],
)
@pytest.mark.parametrize("path", ["/api/episode", "/api/layout", "/frames.png"])
def test_only_episodes_of_the_run_are_served(make_run: MakeRun, path: str, name: str) -> None:
    answer = client(make_run()).get(path, params={"episode": name})
    assert answer.status_code == 404
    assert answer.json() == {"error": "the run has no such episode"}


def test_a_link_out_of_the_run_is_not_followed(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    inside, outside = run / "episodes" / "late-close_drawer-0.npz", tmp_path / "outside.npz"
    inside.rename(outside)
    inside.symlink_to(outside)
    answer = client(run).get("/frames.png", params={"episode": "late-close_drawer-0"})
    assert answer.status_code == 400
    assert "leads out of" in answer.json()["error"]


def test_a_row_that_points_out_of_the_run_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    line = json.loads((run / "rows-0.jsonl").read_text().splitlines()[0])
    with (run / "rows-0.jsonl").open("a") as file:
        file.write(json.dumps(line | {"episode": "../../outside"}) + "\n")
    with pytest.raises(ValueError, match="no name of a file"):
        RunView(ViewConfig(run))


def test_a_damaged_episode_is_told_in_one_sentence(make_run: MakeRun) -> None:
    run = make_run()
    (run / "episodes" / "late-close_drawer-0.npz").write_bytes(b"nonsense")
    answer = client(run).get("/api/layout", params={"episode": "late-close_drawer-0"})
    assert answer.status_code == 400
    assert "cannot be read as npz" in answer.json()["error"]


def test_episodes_without_pixels_or_file_are_told_in_one_sentence(make_run: MakeRun) -> None:
    run = make_run()
    path = run / "episodes" / "early-close_drawer-0.npz"
    np.savez(path, image=np.zeros((3, 8, 0, 3), np.uint8))
    answer = client(run).get("/api/layout?episode=early-close_drawer-0")
    assert (answer.status_code, "at least one frame" in answer.text) == (400, True)
    path.unlink()
    path.mkdir()
    assert "is no file; expected" in client(run).get("/api/layout?episode=early-close_drawer-0").text


def test_episodes_that_are_added_appear(make_run: MakeRun) -> None:
    run = make_run()
    page = client(run)
    line = json.loads((run / "rows-0.jsonl").read_text().splitlines()[0])
    with (run / "rows-0.jsonl").open("a") as file:
        file.write(json.dumps(line | {"episode": "new", "policy": "newest"}) + "\n")
    assert asked(page, "/api/facts")["runs"][0]["policies"] == ["early", "late", "newest"]
    assert names(asked(page, "/api/episodes", policy="newest")) == ["new"]


def test_nothing_can_be_changed(make_run: MakeRun) -> None:
    page = client(make_run())
    assert page.post("/api/episodes", json={}).status_code == 403


@pytest.mark.slow
def test_a_hundred_thousand_episodes_are_browsed_at_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(
        json.dumps({"format": 1, "identity": {"suite": "toy"}, "config": {"suite": "none"}})
    )
    count, policies = 100_000, 20
    with (run / "rows-0.jsonl").open("w") as rows, (run / "scores-judge.jsonl").open("w") as scores:
        for number in range(count):
            name = f"e{number:06d}"
            rows.write(
                json.dumps(
                    {
                        "episode": name, "policy": f"p{number % policies}", "task": "close_drawer",
                        "start": f"s{number // policies}", "seed": number, "world": "world_model",
                        "instruction": "close drawer", "steps": 5,
                    }
                )
                + "\n"
            )  # fmt: skip
            scores.write(
                json.dumps(
                    {"episode": name, "judge": "judge", "success": number % 3 == 0, "probability": 0.5}
                )
                + "\n"
            )
    index = RunIndex(run)
    began = time.perf_counter()
    part = index.part(Filter(policy="p7", verdict="success"), 1000, 50)
    beside = index.companions("close_drawer", "s17", 100)
    passed = time.perf_counter() - began
    assert part["total"] == sum(number % 20 == 7 and number % 3 == 0 for number in range(count))
    assert len(json.dumps(part)) < 40_000
    assert len(beside) == policies
    assert passed < 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing"], "is not a run folder"),
        (["RUN", "nothing"], "nothing is not a folder"),
        (["RUN", "."], "holds no npz file"),
        (["RUN", "--port", "-1"], "port must be at least 0"),
    ],
)
def test_a_mistake_is_one_sentence(
    make_run: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    run = make_run()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(SystemExit) as ended:
        main(["view", *(word.replace("RUN", str(run)) for word in words)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
