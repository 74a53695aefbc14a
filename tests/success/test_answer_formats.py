from __future__ import annotations

import json
from pathlib import Path

import pytest

from real2sim.success.answer_formats import FORMATS, read_success
from real2sim.success.chat_server import UnusableAnswerError

EXCHANGES = Path(__file__).parent / "exchanges"


def verdict(form: str, text: str) -> float | None:
    try:
        return FORMATS[form](text, 3, 5 if form == "roboreward" else None)
    except UnusableAnswerError:
        return None


@pytest.mark.parametrize("form", ["roboreward", "robometer"])
def test_answers_of_reward_models_are_read_as_their_sources_describe_them(form: str) -> None:
    exchange = json.loads((EXCHANGES / f"{form}.json").read_text())
    for answer in exchange["answers"]:
        assert verdict(form, answer["text"]) == answer["verdict"], answer["text"]


def test_the_least_score_of_a_success_can_be_lowered() -> None:
    assert FORMATS["roboreward"]("ANSWER: 4", 3, 4) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"success": true}', 1.0),
        ('It is closed.\n\n{"success": true}\n', 1.0),
        ('<think>{"success": true}? No.</think>\n{"success": false}', 0.0),
        ('```json\n{"success": false}\n```', 0.0),
        ('{"success": true, "why": "it {really} is"}', 1.0),
    ],
)
def test_a_json_object_at_the_end_is_the_answer(text: str, expected: float) -> None:
    assert read_success(text, 3, None) == expected


def test_null_is_no_verdict() -> None:
    assert read_success('{"success": null}', 3, 5) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "success",
        "true",
        '{"success": 1}',
        '{"success": "true"}',
        '{"success": 0.9}',
        '{"success": NaN}',
        '{"success": 1e999}',
        '{"Success": true}',
        '{"score": 5}',
        '{"success": true, "success": false}',
        '{"success": true} although the drawer is open',
        '{"success": NaN, "then": {"success": true}}',
        '{"success": tr',
        '[{"success": true}]',
        "{" * 100_000,
        "[" * 100_000 + '{"success": true',
        "ANSWER: 5",
    ],
)
def test_anything_else_is_no_verdict_and_never_a_failure(text: str) -> None:
    with pytest.raises(UnusableAnswerError):
        read_success(text, 3, None)
