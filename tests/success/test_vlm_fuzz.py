"""Random texts, bodies and kept answers: a verdict, no verdict, or one sentence; never anything else."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from real2sim.success.answer_formats import FORMATS
from real2sim.success.chat_server import Reply, UnusableAnswerError, _reply
from real2sim.success.vlm_answers import Answer, AnswerFile

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["success", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)
PIECES = st.sampled_from(
    [
        '{"success": ',
        "true",
        "false",
        "null",
        "NaN",
        "[0.1, 0.2, 0.3]",
        "}",
        "ANSWER: ",
        "5",
        "6",
        "\n",
        "```",
        "</think>",
    ]
)
TEXTS = st.text(max_size=30) | st.lists(PIECES, max_size=6).map("".join) | JSON.map(json.dumps)
ALWAYS_THE_SAME = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("form", FORMATS)
@ALWAYS_THE_SAME
@given(text=TEXTS)
def test_any_text_is_a_probability_or_no_verdict(form: str, text: str) -> None:
    try:
        verdict = FORMATS[form](text, 3, 5)
    except UnusableAnswerError as error:
        assert len(str(error)) < 200
    else:
        assert verdict is None or 0 <= verdict <= 1


@ALWAYS_THE_SAME
@given(body=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_reply_or_unusable(body: bytes) -> None:
    for content in (
        body,
        b'{"choices": [{"message": {"content": ' + body + b"}}]}",
        b'{"choices": ' + body + b"}",
    ):
        with contextlib.suppress(UnusableAnswerError):
            assert isinstance(_reply(content, 0.1), Reply)


@ALWAYS_THE_SAME
@given(place=st.integers(0, 10**6), length=st.integers(1, 20), mask=st.integers(1, 255))
def test_any_range_of_kept_answers_flipped_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, place: int, length: int, mask: int
) -> None:
    path = Path(tmp_path_factory.mktemp("answers")) / "answers.jsonl"
    answer = Answer("e0", 0, "abc", 17, 1.0, text='{"success": true}', seconds=0.5, prompt_tokens=9)
    content = bytearray("".join(json.dumps(asdict(answer)) + "\n" for _ in range(3)).encode())
    start = place % len(content)
    content[start : start + length] = bytes(byte ^ mask for byte in content[start : start + length])
    path.write_bytes(bytes(content))
    try:
        found = AnswerFile(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        kept = found.find("e0", 0, "abc", 17)
        assert kept is None or kept.verdict is None or 0 <= kept.verdict <= 1
