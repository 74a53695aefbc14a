"""The answers of a vision-language model about a run, kept as they come: what was paid for is not asked again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from real2sim.files import append_text, read_bytes, write_bytes
from real2sim.strict import from_values


@dataclass(frozen=True)
class Answer:
    """One answer to the question about one episode."""

    episode: str
    vote: int
    digest: str
    """Of the judge that asked."""
    frames: int
    """CRC-32 of the episode's frames."""
    verdict: float | None
    """Probability of success; None: no verdict."""
    reason: str = ""
    """Why there is no verdict."""
    text: str = ""
    """What the model said, at most 4,000 characters."""
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.verdict is not None and not 0 <= self.verdict <= 1:
            raise ValueError(f"verdict must lie in [0, 1], got {self.verdict}")


class AnswerFile:
    """The answers in a JSON-lines file, or in memory where there is none."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._answers: dict[tuple[str, int, str, int], Answer] = {}
        if path is not None and path.is_file():
            content = read_bytes(path, "answers")
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                # A killed process may have left a part of a line.
                write_bytes(path, whole)
            for number, line in enumerate(whole.splitlines(), start=1):
                self._remember(_read(line, f"{path}, line {number}"))

    def find(self, episode: str, vote: int, digest: str, frames: int) -> Answer | None:
        """The kept answer to a question, if there is one."""
        return self._answers.get((episode, vote, digest, frames))

    def add(self, answer: Answer) -> None:
        """Keep an answer; it is on disk when this returns."""
        if self.path is not None:
            append_text(self.path, json.dumps(asdict(answer)) + "\n")
        self._remember(answer)

    def _remember(self, answer: Answer) -> None:
        self._answers[answer.episode, answer.vote, answer.digest, answer.frames] = answer


def _read(line: bytes, where: str) -> Answer:
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"{where} is not valid JSON; delete the line, and its question is asked again"
        ) from error
    names = {item.name for item in fields(Answer)}
    if (
        not isinstance(values, dict)
        or not {"episode", "vote", "digest", "frames", "verdict"} <= set(values) <= names
    ):
        raise ValueError(f"{where} is no kept answer; delete the line, and its question is asked again")
    return from_values(Answer, values, where)
