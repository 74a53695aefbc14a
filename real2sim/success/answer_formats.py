"""From what a model said to a probability of success, or to nothing: no answer is guessed at."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from real2sim.success.chat_server import UnusableAnswerError

MOST_BRACES = 1000
"""Opening braces at which an object is looked for."""


def read_success(text: str, frames: int, least: int | None) -> float | None:
    """1, 0 or None (cannot be seen) of the JSON object that ends a text, ``{"success": true | false | null}``."""
    values = _last_object(text)
    if "success" not in values:
        raise UnusableAnswerError("the JSON object has no key 'success'")
    value = values["success"]
    if value is not None and not isinstance(value, bool):
        raise UnusableAnswerError(f"'success' is {str(value)[:40]!r}, expected true, false or null")
    return None if value is None else float(value)


def read_roboreward(text: str, frames: int, least: int | None) -> float | None:
    """1 where the last ``ANSWER: <score>`` is at least ``least``, else 0.

    RoboReward (Lee et al. 2026) scores the end of an episode from 1, no success, to 5, perfect completion; the model
    card of teetone/RoboReward-8B shows the answer's form.
    """
    assert least is not None
    found: list[str] = re.findall(r"ANSWER:[ \t]*(\S*)", _without_thoughts(text))
    if not found:
        raise UnusableAnswerError("the text has no 'ANSWER: <score>'")
    score = found[-1].rstrip(".*")
    if score not in ("1", "2", "3", "4", "5"):
        raise UnusableAnswerError(f"the score is {found[-1][:40]!r}, expected a whole number from 1 to 5")
    return float(int(score) >= least)


def read_robometer(text: str, frames: int, least: int | None) -> float | None:
    """The last of the success probabilities, one for each frame that was sent; progress is not taken for success.

    Robometer (Liang et al. 2026) predicts progress and success of each frame with heads of its own.  Its evaluation
    server answers a batch of episodes with ``{"outputs_success": {"success_probs": [[...]]}, "outputs_progress": ...}``
    (robometer/evals/eval_server.py, commit e3e7e6a), here of one episode; ``{"success": [...]}`` says the same.
    """
    values = _last_object(text)
    given = [key for key in ("success", "outputs_success") if key in values]
    if len(given) != 1:
        raise UnusableAnswerError(
            "the JSON object has "
            + ("both 'success' and 'outputs_success'" if given else "no 'outputs_success' and no 'success'")
            + "; expected one of them, with a probability for each frame"
        )
    row = values[given[0]]
    if given == ["outputs_success"]:
        episodes = row.get("success_probs") if isinstance(row, dict) else None
        if not isinstance(episodes, list) or len(episodes) != 1:
            raise UnusableAnswerError("'outputs_success' holds no 'success_probs' of one episode")
        row = episodes[0]
    if not isinstance(row, list) or len(row) != frames:
        raise UnusableAnswerError(f"'{given[0]}' is no list of {frames} probabilities, one for each frame")
    for value in row:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise UnusableAnswerError(
                f"'{given[0]}' holds {str(value)[:40]}, expected probabilities in [0, 1]"
            )
    return float(row[-1])


FORMATS: Mapping[str, Callable[[str, int, int | None], float | None]] = {
    "success": read_success,
    "roboreward": read_roboreward,
    "robometer": read_robometer,
}
"""Name of an answer's form -> what reads it (text, number of frames, least score of a success, if it has scores)."""


def _without_thoughts(text: str) -> str:
    return text.rsplit("</think>", 1)[-1]


def _last_object(text: str) -> dict[str, Any]:
    """The JSON object with which a text ends, after any thoughts; code fences around it do not matter."""
    said = _without_thoughts(text).rstrip().removesuffix("```").rstrip()
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
    place = len(said)
    for _ in range(MOST_BRACES):
        place = said.rfind("{", 0, place)
        if place < 0:
            break
        try:
            value, end = decoder.raw_decode(said, place)
        except (ValueError, RecursionError):
            continue
        if end == len(said):
            found: dict[str, Any] = value
            return found
    raise UnusableAnswerError("the text does not end with a JSON object")


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is there twice")
    return values
