"""The labelling page over HTTP: blind, shuffled, resumable, every answer on disk at once."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from real2sim.cli import main
from real2sim.episodes.run_folder import RunFolder
from real2sim.pages.guard import TOKEN_HEADER
from real2sim.pages.label_page import label_app
from real2sim.pages.label_session import LabelConfig, LabelSession
from real2sim.success.label_key import read_key
from real2sim.success.labels import episode_labels

ADDRESS = "http://127.0.0.1:8765"
SECRETS = ("begin", "close_drawer-", "tiny_run", "toy")
"""What a rater must not read: names of the policy, of starts and episodes, of the run and of its suite."""


class Rater:
    """A rater's browser without a screen."""

    def __init__(self, folder: Path, rater: str = "ann", **options: Any) -> None:
        self.session = LabelSession(LabelConfig(folder, rater=rater, **options))
        app = label_app(self.session)
        self.client = TestClient(app, base_url=ADDRESS)
        self.headers = {TOKEN_HEADER: app.token, "origin": ADDRESS}

    def state(self) -> dict[str, Any]:
        return dict(self.client.get("/api/state").json())

    def post(self, path: str, **values: Any) -> dict[str, Any]:
        answer = self.client.post(path, json=values, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def label(self, label: str) -> dict[str, Any]:
        return self.post("/api/label", clip=self.state()["clip"]["id"], label=label)


def test_a_rater_works_through_all_episodes(tiny_run: Path) -> None:
    ann = Rater(tiny_run)
    given = {}
    for number, label in enumerate(("success", "failure", "unclear", "success")):
        state = ann.state()
        assert (state["done"], state["total"]) == (number, 4)
        given[state["clip"]["id"]] = label
        ann.label(label)
        rows = list(csv.DictReader((tiny_run / "labels.csv").open()))
        assert [(row["clip"], row["rater"], row["label"]) for row in rows] == [
            (clip, "ann", said) for clip, said in given.items()
        ]
    end = ann.state()
    assert end["clip"] is None
    assert end["counts"] == {"success": 2, "failure": 1, "unclear": 1}
    key = read_key(tiny_run)
    assert episode_labels([tiny_run / "labels.csv"]) == {key[clip]: label for clip, label in given.items()}


def test_nothing_a_rater_sees_names_policy_or_episode(tiny_run: Path) -> None:
    ann = Rater(tiny_run)
    seen = [
        ann.client.get(path).text
        for path in ("/", "/static/label.js", "/static/player.js", "/static/page.css")
    ]
    while (state := ann.state())["clip"]:
        picture = ann.client.get(f"/clips/{state['clip']['id']}/0.png")
        assert picture.headers["content-type"] == "image/png"
        seen += [json.dumps(state), str(picture.headers), picture.content.decode("latin-1")]
        seen.append(json.dumps(ann.label("success")))
    seen += [json.dumps(ann.state()), (tiny_run / "labels.csv").read_text()]
    for path in (
        "/clips/begin-0/0.png",
        "/clips/x/99.png",
        f"/clips/{next(iter(read_key(tiny_run)))}/99.png",
    ):
        answer = ann.client.get(path)
        assert answer.status_code == 404
        seen.append(answer.text)
    for text in seen:
        assert not [secret for secret in SECRETS if secret in text], text[:200]


def test_a_damaged_episode_is_left_out_and_named_on_the_terminal_only(
    tiny_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tiny_run / "episodes" / "begin-2.npz").write_bytes(b"nonsense")
    ann = Rater(tiny_run)
    states = []
    while (state := ann.state())["clip"]:
        states += [state, ann.label("failure")]
    assert state["done"] == state["total"] == 3
    assert state["unreadable"] == 1
    assert "begin-2.npz" in caplog.text
    assert "begin" not in json.dumps([*states, state])


def test_a_full_disk_is_told_without_a_name(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = Rater(tiny_run)
    clip = ann.state()["clip"]["id"]

    def full(*_: Any) -> None:
        raise OSError(f"the disk is full while {tiny_run} is written")

    monkeypatch.setattr("real2sim.success.rater_file.write_labels", full)
    answer = ann.client.post("/api/label", json={"clip": clip, "label": "success"}, headers=ann.headers)
    assert answer.status_code == 400
    assert "the terminal" in answer.json()["error"]
    assert not [secret for secret in SECRETS if secret in answer.text]
    assert ann.state()["done"] == 0


def test_the_frames_come_back_unchanged(tiny_run: Path, tmp_path: Path) -> None:
    ann = Rater(tiny_run)
    clip = ann.state()["clip"]
    (tmp_path / "sheet.png").write_bytes(ann.client.get(f"/clips/{clip['id']}/0.png").content)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert not picture.info
        sheet = np.asarray(picture)
    frames = RunFolder(tiny_run).episode(read_key(tiny_run)[clip["id"]])[0]
    assert clip["frames"] == len(frames) == 5
    for number, frame in enumerate(frames):
        top, left = (16 * place for place in divmod(number, clip["columns"]))
        np.testing.assert_array_equal(sheet[top : top + 16, left : left + 16], frame)


def test_the_order_is_random_the_same_for_all_and_another_with_another_seed(tiny_run: Path) -> None:
    def order(rater: str, seed: int) -> list[str]:
        session = LabelSession(LabelConfig(tiny_run, rater=rater, seed=seed))
        return list(session._order.values())

    orders = {seed: order("ann", seed) for seed in range(8)}
    assert order("ben", 3) == orders[3]
    assert len({tuple(found) for found in orders.values()}) > 3
    assert all(sorted(found) == [f"begin-{number}" for number in range(4)] for found in orders.values())


def test_labelling_goes_on_where_it_stopped(tiny_run: Path) -> None:
    first = Rater(tiny_run)
    shown = [first.state()["clip"]["id"]]
    first.label("success")
    again = Rater(tiny_run)
    assert again.state()["done"] == 1
    while (state := again.state())["clip"]:
        shown.append(state["clip"]["id"])
        again.label("failure")
    assert len(set(shown)) == len(shown) == 4


def test_an_answer_is_taken_back_also_after_a_restart(tiny_run: Path) -> None:
    ann = Rater(tiny_run)
    assert not ann.state()["undo"]
    clips = [ann.state()["clip"]["id"]]
    ann.label("success")
    clips.append(ann.state()["clip"]["id"])
    ann.label("failure")
    ann = Rater(tiny_run)
    for clip in reversed(clips):
        state = ann.post("/api/undo")
        assert state["clip"]["id"] == clip
    assert ann.state()["done"] == 0
    assert ann.post("/api/undo")["clip"]["id"] == clips[0]


def test_a_number_of_episodes_is_the_beginning_of_the_order(tiny_run: Path) -> None:
    few = LabelSession(LabelConfig(tiny_run, episodes=2))
    every = LabelSession(LabelConfig(tiny_run))
    assert list(few._order) == list(every._order)[:2]
    assert few.state()["total"] == 2


@pytest.mark.parametrize(
    "values",
    [{}, {"clip": "begin-0", "label": "success"}, {"clip": None, "label": "success"}, {"clip": ["x"]}],
)
def test_an_unknown_clip_is_refused(tiny_run: Path, values: dict[str, Any]) -> None:
    ann = Rater(tiny_run)
    assert ann.client.post("/api/label", json=values, headers=ann.headers).status_code == 404
    assert not (tiny_run / "labels.csv").exists()


@pytest.mark.parametrize("label", ["", "good", None, ["success"], "SUCCESS"])
def test_an_unknown_label_is_refused(tiny_run: Path, label: Any) -> None:
    ann = Rater(tiny_run)
    values = {"clip": ann.state()["clip"]["id"], "label": label}
    assert ann.client.post("/api/label", json=values, headers=ann.headers).status_code == 404
    assert not (tiny_run / "labels.csv").exists()


def test_raters_do_not_see_each_other_until_the_end(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ann, ben = Rater(tiny_run, "ann"), Rater(tiny_run, "ben")
    for label in ("success", "failure", "success", "failure"):
        ann.label(label)
    for label in ("success", "failure", "failure"):
        assert "ann" not in json.dumps(ben.state())
        ben.label(label)
    end = ben.label("failure")
    expected = "ann and ben: 3 of 4 labelled alike, Cohen's kappa 0.50"
    assert end["agreement"][0].startswith(expected)
    assert ben.session.summary().splitlines()[1].startswith(expected)
    main(["label", str(tiny_run), "--agreement"])
    assert capsys.readouterr().out.startswith(expected)


def test_a_place_for_labels_that_cannot_be_is_refused_before_anybody_labels(tiny_run: Path) -> None:
    before = sorted(tiny_run.rglob("*"))
    with pytest.raises(
        ValueError, match=r"label_key.csv, the name of the file that says which clip is which"
    ):
        LabelConfig(tiny_run, tiny_run / "label_key.csv")
    with pytest.raises(OSError, match="cannot be written: a file has the name of one of its folders"):
        LabelSession(LabelConfig(tiny_run, tiny_run / "run.json" / "labels.csv"))
    assert sorted(tiny_run.rglob("*")) == before


def test_labels_without_their_key_are_not_gone_on_with(tiny_run: Path) -> None:
    Rater(tiny_run).label("success")
    key = (tiny_run / "label_key.csv").read_text()
    (tiny_run / "label_key.csv").unlink()
    with pytest.raises(
        ValueError, match=r"labels of clips that label_key.csv beside it does not name .*; restore"
    ):
        Rater(tiny_run)
    assert not (tiny_run / "label_key.csv").exists()
    (tiny_run / "label_key.csv").symlink_to("gone")
    with pytest.raises(FileNotFoundError, match=r"label_key.csv is a link that leads to nothing"):
        Rater(tiny_run)
    (tiny_run / "label_key.csv").unlink()
    (tiny_run / "label_key.csv").write_text(key)
    assert Rater(tiny_run).state()["done"] == 1


def test_a_name_that_another_has_written_in_capitals_meanwhile_is_not_added(tiny_run: Path) -> None:
    ann, clip = Rater(tiny_run), Rater(tiny_run).state()["clip"]["id"]
    (tiny_run / "labels.csv").write_text("clip,rater,label\ncabc,ANN,success\n")
    before = (tiny_run / "labels.csv").read_text()
    answer = ann.client.post("/api/label", json={"clip": clip, "label": "success"}, headers=ann.headers)
    assert (answer.status_code, (tiny_run / "labels.csv").read_text()) == (400, before)


def test_the_end_says_what_is_left(tiny_run: Path) -> None:
    ann = Rater(tiny_run)
    ann.label("unclear")
    assert ann.session.summary() == (
        f"1 labels of ann in {tiny_run / 'labels.csv'} (0 success, 0 failure, 1 unclear); 3 to go"
    )


def test_episodes_of_a_dataset_are_labelled_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        image = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
        told = {"instruction": f"push block {number}"} if number else {}
        np.savez(tmp_path / f"demo-{number}.npz", image=image, success=True, **told)
    ann = Rater(tmp_path, out=tmp_path / "out" / "mine.csv")
    told = {}
    while (state := ann.state())["clip"]:
        assert ann.client.get(f"/clips/{state['clip']['id']}/0.png").status_code == 200
        assert not re.search("demo|success.: *true", json.dumps(state))
        told[state["clip"]["id"]] = state["clip"]["instruction"]
        ann.label("failure")
    assert sorted(told.values()) == ["", "push block 1", "push block 2"]
    labels = episode_labels([tmp_path / "out" / "mine.csv"], [tmp_path])
    assert labels == {f"demo-{number}": "failure" for number in range(3)}


def test_a_link_out_of_the_run_is_not_followed(tiny_run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.npz"
    outside.write_bytes((tiny_run / "episodes" / "begin-1.npz").read_bytes())
    (tiny_run / "episodes" / "begin-1.npz").unlink()
    (tiny_run / "episodes" / "begin-1.npz").symlink_to(outside)
    session = LabelSession(LabelConfig(tiny_run))
    clips = {episode: clip for clip, episode in read_key(tiny_run).items()}
    with pytest.raises(ValueError, match="leads out of"):
        session.sheet(clips["begin-1"], 0)
    assert session.sheet(clips["begin-0"], 0).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["missing"], "missing is not a folder"),
        (["."], "is neither a run folder"),
        (["RUN", "--rater", "a,b"], "the rater's name is 'a,b'"),
        (["RUN", "--port", "70000"], "port must be at most 65535"),
        (["RUN", "--episodes", "0"], "episodes must be at least 1"),
        (["RUN", "--agreement"], "holds no labels"),
        (["RUN", "--out", "RUN"], "is a folder; expected blind labels as CSV"),
        (["RUN", "--out", "old.csv"], "has the columns episode, label"),
        (["RUN", "--host", "no.such.host.invalid"], "is no address of this machine"),
    ],
)
def test_a_mistake_is_one_sentence(
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    Path("old.csv").write_text("episode,label\ne0,success\n")
    with pytest.raises(SystemExit) as ended:
        main(["label", *(word.replace("RUN", str(tiny_run)) for word in words)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
