from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from real2sim import cli
from real2sim.episodes.run_folder import RowWriter, RunFolder, load_run
from real2sim.evaluation.judge_labels import labelled_in_runs, unproven_judges
from real2sim.evaluation.report_runs import scored_episodes
from real2sim.success import chat_server
from real2sim.success.judge import open_judge
from real2sim.success.shown_frames import shown_frames
from real2sim.success.vlm_answers import AnswerFile
from real2sim.success.vlm_judge import VLMJudge, parse_address
from tests.success.vlm_server import StubServer, completion, pictures, question, serving

EXCHANGES = Path(__file__).parent / "exchanges"
SEEN = '{"success": true}'


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts, which are not made."""
    waits: list[float] = []
    monkeypatch.setattr(chat_server, "sleep", waits.append)
    return waits


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Twelve episodes whose brightness says their number; the bright half succeeded."""
    return write_run(tmp_path / "run", 12)


def write_run(path: Path, count: int) -> Path:
    folder = RunFolder(path)
    folder.open({"suite": "toy", "world": "w"}, {})
    with RowWriter(folder, 0) as writer:
        for number in range(count):
            video = np.full((5, 8, 12, 3), number * 240 // count, np.uint8)
            row = {
                "episode": f"e{number:03d}",
                "task": "close",
                "policy": f"p{number % 2}",
                "start": f"s{number}",
            }
            row |= {
                "suite": "toy",
                "world": "w",
                "instruction": "close the drawer",
                "steps": 4,
                "set": "policies",
            }
            writer.write(row, video, np.zeros((4, 13), np.float32))
    return path


def brightness(request: dict[str, Any]) -> float:
    picture = Image.open(io.BytesIO(base64.b64decode(pictures(request)[-1].split(",")[1])))
    return float(np.asarray(picture).mean())


def honest(request: dict[str, Any], number: int) -> str:
    return json.dumps({"success": brightness(request) >= 120})


def ask(stub: StubServer, options: str = "", episodes: int = 1) -> np.ndarray:
    judge = VLMJudge.from_address(f"openai:{stub.url}#model=m&retries=2{options}")
    videos = [np.full((5, 8, 12, 3), 200, np.uint8)] * episodes
    return judge.judge([f"e{n}" for n in range(episodes)], videos, ["close the drawer"] * episodes)


def test_the_model_sees_frames_in_order_and_then_the_question() -> None:
    with serving(lambda request, number: SEEN) as stub:
        judge = VLMJudge.from_address(f"openai:{stub.url}#model=Qwen/VL&frames=3&side=64")
        video = np.stack([np.full((8, 16, 3), value, np.uint8) for value in (0, 60, 120, 180, 240)])
        np.testing.assert_array_equal(judge.judge(["e"], [video], ["close the drawer"]), [1.0])
    (request,) = stub.requests
    assert stub.paths == ["/v1/chat/completions"]
    assert request["model"] == "Qwen/VL"
    assert request["temperature"] == 0
    assert [part["type"] for part in request["messages"][0]["content"]] == ["image_url"] * 3 + ["text"]
    means = []
    for url in pictures(request):
        assert url.startswith("data:image/png;base64,")
        picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
        assert picture.size == (64, 32)
        means.append(np.asarray(picture).mean())
    assert means == [0, 120, 240]
    assert "close the drawer" in question(request)
    assert "Authorization" not in stub.headers[0]


def test_which_frames_are_shown() -> None:
    assert shown_frames(5, 3) == [0, 2, 4]
    assert shown_frames(2, 8) == [0, 1]
    assert shown_frames(9, 1) == [8]
    with pytest.raises(ValueError, match="without a frame"):
        shown_frames(0, 3)


def test_the_question_is_in_a_file_that_a_user_writes(tmp_path: Path) -> None:
    prompt = tmp_path / "question.txt"
    prompt.write_text("{frames} pictures of {instruction}. End with ANSWER: <score>.")
    with serving(lambda request, number: "ANSWER: 5") as stub:
        assert ask(stub, f"&prompt={prompt}&answer=roboreward&least=5&frames=2&image=jpeg").tolist() == [1.0]
    assert question(stub.requests[0]) == "2 pictures of close the drawer. End with ANSWER: <score>."
    assert pictures(stub.requests[0])[0].startswith("data:image/jpeg")
    prompt.write_text("Is it done?")
    with pytest.raises(ValueError, match=r"question\.txt does not hold \{instruction\}"):
        VLMJudge.from_address(f"openai:http://127.0.0.1:1/v1#model=m&prompt={prompt}")
    with pytest.raises(FileNotFoundError, match=r"missing\.txt does not exist"):
        VLMJudge.from_address(f"openai:http://127.0.0.1:1/v1#model=m&prompt={tmp_path / 'missing.txt'}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"choices": []}',
        b'{"choices": [{"message": {}}]}',
        b'{"choices": [{"text": "{\\"success\\": true}"}]}',
        b'{"error": {"message": "no"}}',
        b"[" * 5000,
        completion(None),
        completion({"success": True}),
        completion("I believe it worked."),
        completion('{"success": NaN}'),
        completion("x" * 3_000_000 + SEEN),
    ],
)
def test_an_answer_that_cannot_be_read_is_no_verdict(body: bytes) -> None:
    with serving(lambda request, number: (200, body)) as stub:
        assert np.isnan(ask(stub)).all()
    assert len(stub.requests) == 1


def test_a_lying_count_of_tokens_is_not_counted() -> None:
    for usage in ({"prompt_tokens": "many", "completion_tokens": -1}, [], "x", {"prompt_tokens": True}):
        with serving(lambda request, number, usage=usage: (200, completion(SEEN, usage))) as stub:
            judge = VLMJudge.from_address(f"openai:{stub.url}#model=m")
            assert judge.judge(["e"], [np.zeros((2, 8, 8, 3), np.uint8)], ["go"]).tolist() == [1.0]
        assert "1 answers came without a count" in next(judge.costs.lines())


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again_after_a_growing_pause(status: int, no_waiting: list[float]) -> None:
    with serving(lambda request, number: (status, b"busy") if number < 2 else SEEN) as stub:
        assert ask(stub).tolist() == [1.0]
    assert len(stub.requests) == 3
    assert 0.5 <= no_waiting[0] <= 1 <= no_waiting[1] <= 2


def test_a_server_may_ask_for_a_longer_pause_but_not_for_ever(no_waiting: list[float]) -> None:
    for asked, least, most in (("7", 7, 7), ("99999", 60, 60), ("soon", 0.5, 1)):
        no_waiting.clear()
        with serving(lambda request, number: (429, b"") if number < 1 else SEEN) as stub:
            stub.more_headers = {"Retry-After": asked}
            ask(stub)
        assert least <= max(no_waiting) <= most


def test_a_server_that_stays_busy_ends_the_scoring_and_gives_no_verdict() -> None:
    with (
        serving(lambda request, number: (503, b"out\n of \x1b[31m memory")) as stub,
        pytest.raises(OSError, match=r"no answer in 3 attempts \(status 503 \(out of .* memory\)\)"),
    ):
        ask(stub)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (400, "refuses the request with status 400 .*too long.*correct the judge's options"),
        (401, "name the environment variable that holds the key with key=VARIABLE"),
        (404, "does it serve the model 'm'"),
        (307, "which is not followed"),
    ],
)
def test_a_refusal_ends_the_scoring_at_once(status: int, sentence: str) -> None:
    with serving(lambda request, number: (status, b"too long")) as stub:
        stub.more_headers = {"Location": f"{stub.url}/elsewhere"}
        with pytest.raises(OSError, match=sentence):
            ask(stub)
    assert len(stub.requests) == 1


def test_a_stalling_server_is_not_waited_for_longer_than_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_server, "pause", lambda *_: None)
    with serving(lambda request, number: SEEN) as stub:
        stub.stalls = 0.6
        with pytest.raises(OSError, match=r"no answer within 0\.1 s"):
            ask(stub, "&timeout=0.1")


def test_a_server_that_is_not_there_is_named() -> None:
    judge = VLMJudge.from_address("openai:http://127.0.0.1:1/v1#model=m&retries=0")
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:1/v1 gave no answer in 1 attempts .*refused"):
        judge.judge(["e"], [np.zeros((2, 8, 8, 3), np.uint8)], ["go"])


def test_a_key_comes_from_the_environment_and_is_written_nowhere(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    with serving(honest) as stub:
        cli.main(["score", str(run), "--judge", f"openai:{stub.url}#model=m&key=JUDGE_KEY"])
    assert {headers["Authorization"] for headers in stub.headers} == {"Bearer sk-very-secret"}
    assert not [path for path in run.rglob("*") if path.is_file() and b"very-secret" in path.read_bytes()]
    out = capfd.readouterr()
    assert "very-secret" not in out.out + out.err


@pytest.mark.parametrize("key", ["", "  ", "sk-a\nX-Evil: 1", "sk a", "sk-\u00e9"])
def test_a_key_that_is_none_is_refused_without_showing_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(ValueError, match="JUDGE_KEY") as error:
        VLMJudge.from_address("openai:http://127.0.0.1:1/v1#model=m&key=JUDGE_KEY")
    assert "sk" not in str(error.value)


def test_several_votes_make_a_probability_and_ask_with_different_seeds() -> None:
    with serving(lambda request, number: json.dumps({"success": request["seed"] != 1})) as stub:
        assert ask(stub, "&votes=3").tolist() == [pytest.approx(2 / 3)]
    assert sorted(request["seed"] for request in stub.requests) == [0, 1, 2]
    assert {request["temperature"] for request in stub.requests} == {0.7}


def test_without_a_majority_of_readable_answers_there_is_no_verdict() -> None:
    for readable, expected in ((1, None), (2, 1.0)):
        with serving(lambda request, number, n=readable: SEEN if request["seed"] < n else "?") as stub:
            found = ask(stub, "&votes=3")[0]
        assert np.isnan(found) if expected is None else found == expected
    with serving(lambda request, number: ("?", SEEN, '{"success": false}')[request["seed"]]) as stub:
        assert np.isnan(ask(stub, "&votes=3")[0])


def test_no_more_questions_are_asked_at_once_than_was_said() -> None:
    with serving(lambda request, number: SEEN) as stub:
        stub.stalls = 0.02
        ask(stub, "&concurrency=3", episodes=12)
    assert 2 <= stub.most_at_once <= 3
    assert len(stub.requests) == 12


def test_answers_are_kept_as_they_come_and_not_asked_again(run: Path) -> None:
    def failing(request: dict[str, Any], number: int) -> Any:
        return honest(request, number) if number < 7 else (400, b"no")

    with serving(failing) as stub, pytest.raises(SystemExit):
        cli.main(["score", str(run), "--judge", f"openai:{stub.url}#model=m&concurrency=1"])
    kept = [json.loads(line) for line in (run / "answers-m.jsonl").read_text().splitlines()]
    assert len(kept) == 7
    with (run / "answers-m.jsonl").open("a") as file:
        file.write('{"episode": "e0')
    with serving(honest) as again:
        cli.main(["score", str(run), "--judge", f"openai:{again.url}#model=m&concurrency=1"])
        assert len(again.requests) == 5
        cli.main(["score", str(run), "--judge", f"openai:{again.url}#model=m"])
        assert len(again.requests) == 5
        cli.main(["score", str(run), "--judge", f"openai:{again.url}#model=m&frames=2"])
        assert len(again.requests) == 17
    table = load_run(run).sort_values("episode")
    assert table["success"].tolist() == [False] * 6 + [True] * 6


def test_a_damaged_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"episode": 3}\n')
    with pytest.raises(ValueError, match=r"answers\.jsonl, line 1 is no kept answer; delete the line"):
        AnswerFile(tmp_path / "answers.jsonl")
    line = {"episode": "e", "vote": 0, "digest": "d", "frames": 1, "verdict": 3.0}
    (tmp_path / "answers.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"line 1.*verdict"):
        AnswerFile(tmp_path / "answers.jsonl")


def test_costs_and_reasons_are_told(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(lambda request, number: "?" if number == 3 else SEEN) as stub, caplog.at_level(logging.INFO):
        cli.main(["score", str(run), "--judge", f"openai:{stub.url}#model=m"])
    assert "12 answers in" in caplog.text
    assert "1200 tokens read, 84 written" in caplog.text
    assert "no verdict in 1 of them: the text does not end with a JSON object" in caplog.text
    assert "m has no verdict on 1 of 12 episodes" in caplog.text


def report_on(run: Path) -> tuple[list[str], list[tuple[str, pd.DataFrame]]]:
    episodes = scored_episodes((run,))
    return unproven_judges((run,), episodes), labelled_in_runs((run,), episodes)


def test_its_rates_carry_a_warning_until_a_hundred_labels_give_its_confusion_matrix(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, labels = write_run(tmp_path / "run", 110), tmp_path / "labels.csv"

    def label(count: int) -> None:
        rows = [f"e{n:03d},{'success' if n >= 50 else 'failure'}" for n in range(count)]
        labels.write_text("\n".join(["episode,label", *rows, "e109,unclear"]) + "\n")

    caplog.set_level(logging.INFO)
    with serving(honest) as stub:
        words = ["score", str(run), "--judge", f"openai:{stub.url}#model=m&frames=1&side=32"]
        cli.main(words)
        (said,), nothing = report_on(run)
        assert "was compared with no labelled episode of this run, fewer than 100" in said
        assert nothing == []
        label(60)
        cli.main([*words, "--labels", str(labels)])
        assert "was compared with 60 labelled episodes" in report_on(run)[0][0]
        label(105)
        cli.main([*words, "--labels", str(labels)])
        cli.main(words)
    said, ((name, table),) = report_on(run)
    assert said == []
    assert name == "labelled episodes of these runs"
    assert pd.crosstab(table["label"], table["success"]).to_numpy().tolist() == [[50, 0], [5, 50]]
    assert "m on 105 labelled episodes: 50 successes seen and 5 missed" in caplog.text
    assert "1 unclear" in caplog.text
    with serving(honest) as stub:
        cli.main(["score", str(run), "--judge", f"openai:{stub.url}#model=m&frames=2"])
    assert "was compared with no labelled episode" in report_on(run)[0][0]


def test_labels_of_no_judged_episode_are_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("episode,label\nelsewhere,success\n")
    with serving(honest) as stub, pytest.raises(SystemExit):
        cli.main(
            [
                "score",
                str(run),
                "--judge",
                f"openai:{stub.url}#model=m",
                "--labels",
                str(tmp_path / "labels.csv"),
            ]
        )


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://127.0.0.1:8000/v1", "names no model"),
        ("http://127.0.0.1:8000/v1#model=", "'model' is ''|model is ''"),
        ("http://127.0.0.1:8000/v1#model=m&model=n", "model is given twice"),
        (
            "http://127.0.0.1:8000/v1#model=m&vote=3",
            "no option 'vote', did you mean 'votes'|no option 'vote'",
        ),
        ("http://127.0.0.1:8000/v1#model=m&votes=2", "votes must be odd"),
        ("http://127.0.0.1:8000/v1#model=m&votes=three", "votes is 'three'; expected a whole number"),
        ("http://127.0.0.1:8000/v1#model=m&timeout=nan", "timeout is 'nan'"),
        ("http://127.0.0.1:8000/v1#model=m&frames=1000", "frames must lie between 1 and 64"),
        ("http://127.0.0.1:8000/v1#model=m&answer=score", "expected success or roboreward or robometer"),
        (
            "http://127.0.0.1:8000/v1#model=m&answer=roboreward",
            "say from which score on an episode is a success",
        ),
        (
            "http://127.0.0.1:8000/v1#model=m&answer=roboreward&least=1",
            "least must lie between 2 and 5, got 1",
        ),
        ("http://127.0.0.1:8000/v1#model=m&answer=robometer&least=5", "answer=robometer has no scores"),
        ("http://127.0.0.1:8000/v1#model=m&answer=roboreward&least=5", "give prompt=FILE"),
        ("http://127.0.0.1:8000/v1#model=m&answer=robometer", "give prompt=FILE"),
        ("http://127.0.0.1:8000/v1#m", "are no options"),
        ("127.0.0.1:8000/v1#model=m", "is no address of a server"),
        ("file:///etc/passwd#model=m", "is no address of a server"),
        ("http://me:secret@host/v1#model=m", "holds a user name or a password"),
        ("http://me:secret@host/v1", "names no model"),
        ("http://me:sec#secret@host/v1#model=m", "are no options"),
        ("http://me:secret@host:99999/v1#model=m", "is no address of a server"),
        ("http://[::1/v1#model=m", "is no address of a server"),
        ("http://host/v1?api_key=secret#model=m", "key=VARIABLE"),
    ],
)
def test_addresses_that_make_no_sense_are_one_sentence(address: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        open_judge(f"openai:{address}")
    assert "secret" not in str(error.value)


def test_the_digest_changes_with_what_is_asked_and_not_with_where(tmp_path: Path) -> None:
    def digest(address: str) -> str:
        url, config = parse_address(f"openai:{address}")
        return VLMJudge(url, config).digest

    usual = digest("http://a/v1#model=m")
    assert digest("http://b/v1#model=m&timeout=5&concurrency=1&name=x") == usual
    for option in ("frames=3", "votes=3", "side=64", "image=jpeg", "temperature=0.1"):
        assert digest(f"http://a/v1#model=m&{option}") != usual
    prompt = tmp_path / "question.txt"
    prompt.write_text("{instruction}")
    forms = ("success", "robometer", "roboreward&least=4", "roboreward&least=5")
    assert len({digest(f"http://a/v1#model=m&prompt={prompt}&answer={form}") for form in forms}) == len(forms)


@pytest.mark.parametrize("form", ["roboreward", "robometer"])
def test_a_reward_model_s_documented_answers_come_through_the_server_as_verdicts_or_none(
    form: str, tmp_path: Path
) -> None:
    exchange = json.loads((EXCHANGES / f"{form}.json").read_text())
    prompt = tmp_path / "question.txt"
    prompt.write_text(exchange["question"])
    answers = exchange["answers"]
    with serving(lambda request, number: str(answers[number]["text"])) as stub:
        options = f"&{exchange['options']}&prompt={prompt}&frames=3&concurrency=1"
        given = ask(stub, options, len(answers))
    expected = [np.nan if answer["verdict"] is None else answer["verdict"] for answer in answers]
    np.testing.assert_array_equal(given, expected)
    asked = {question(request) for request in stub.requests}
    assert asked == {exchange["question"].replace("{instruction}", "close the drawer")}
    assert {len(pictures(request)) for request in stub.requests} == {3}
