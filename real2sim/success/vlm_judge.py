"""A vision-language model as the judge: it is shown frames of an episode and asked whether the task is done."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

import numpy as np

from real2sim.files import read_text
from real2sim.success.answer_formats import FORMATS
from real2sim.success.chat_server import ChatServer, UnusableAnswerError
from real2sim.success.shown_frames import data_url, shown_frames
from real2sim.success.vlm_answers import Answer, AnswerFile
from real2sim.wording import did_you_mean, without_password

logger = logging.getLogger(__name__)

SCHEME = "openai:"
PROMPT = Path(__file__).resolve().parent.parent / "assets" / "judge_prompts" / "success.txt"
"""The question that is asked where no other file is named."""
KEPT_TEXT = 4000
"""Characters of an answer that are kept."""


@dataclass(frozen=True)
class VLMConfig:
    """What a vision-language model is shown, how it is asked and how its answer is read."""

    model: str
    """Name by which the server knows the model."""
    prompt: Path = PROMPT
    """Text file with the question; ``{instruction}`` and ``{frames}`` (their number) are filled in."""
    answer: Literal["success", "roboreward", "robometer"] = "success"
    """Form of the answer: a JSON object with ``success``; ``ANSWER: 1`` to 5; JSON with a probability per frame."""
    least: int | None = None
    """Least score of 1 to 5 that is a success; has to be said for ``roboreward``, and for it alone."""
    frames: int = 8
    """Frames per episode: the first, the last, and others evenly between them."""
    side: int = 448
    """Pixels of the longer side of a frame as it is sent."""
    image: Literal["png", "jpeg"] = "png"
    """Form in which frames are sent."""
    votes: int = 1
    """Answers per episode, an odd number; the probability is their mean."""
    temperature: float | None = None
    """By default 0 for one vote and 0.7 for several."""
    tokens: int = 1024
    """Longest answer, in tokens."""
    concurrency: int = 4
    """Questions that are asked at the same time."""
    timeout: float = 120.0
    """Seconds for one attempt."""
    retries: int = 4
    """Further attempts after a busy or failing server."""
    key: str | None = None
    """Environment variable with the API key; without one no key is sent."""
    name: str = ""
    """The judge's name beside every score; by default the model's."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("no model was named; write openai:ADDRESS#model=NAME")
        for field, low, high in (
            ("frames", 1, 64), ("side", 32, 2048), ("votes", 1, 99), ("tokens", 1, 100_000),
            ("concurrency", 1, 64), ("retries", 0, 20),
        ):  # fmt: skip
            if not low <= getattr(self, field) <= high:
                raise ValueError(f"{field} must lie between {low} and {high}, got {getattr(self, field)}")
        if self.answer == "roboreward":
            if self.least is None:
                raise ValueError(
                    "answer=roboreward is a progress score from 1 to 5, no verdict; say from which score on an episode "
                    "is a success, e.g. least=5 (perfect completion) or least=4 (near completion)"
                )
            if not 1 < self.least <= 5:
                raise ValueError(
                    f"least must lie between 2 and 5, got {self.least}; 1 is the score of no success"
                )
        elif self.least is not None:
            raise ValueError(f"least is for answer=roboreward; answer={self.answer} has no scores")
        if self.answer != "success" and self.prompt == PROMPT:
            raise ValueError(
                f"answer={self.answer} needs the question that the model was trained with; write it into a file, with "
                "{instruction} in the task's place, and give prompt=FILE (docs/vlm_judge.md)"
            )
        if self.votes % 2 == 0:
            raise ValueError(f"votes must be odd, so that there is a majority, got {self.votes}")
        if not 0 < self.timeout <= 3600:
            raise ValueError(f"timeout must be positive and at most 3600 seconds, got {self.timeout}")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must lie between 0 and 2, got {self.temperature}")

    @property
    def drawn_at(self) -> float:
        """The temperature that is asked for."""
        return (0.0 if self.votes == 1 else 0.7) if self.temperature is None else self.temperature


class VLMJudge:
    """Asks a model behind an OpenAI-compatible server; an answer that cannot be read is no verdict."""

    def __init__(self, url: str, config: VLMConfig, answers: AnswerFile | None = None) -> None:
        self.config = config
        self.server = ChatServer(url, config.model, config.key, config.timeout, config.retries)
        self.server.key()
        self.question = read_prompt(config.prompt)
        self.answers = answers or AnswerFile()
        self.name = config.name or config.model
        self.costs = Costs()

    @classmethod
    def from_address(cls, address: str) -> VLMJudge:
        """The judge of ``openai:URL#model=NAME&option=value&...``."""
        url, config = parse_address(address)
        return cls(url, config)

    @property
    def digest(self) -> str:
        """Changes with the model's name, the question and what is shown, not with the server's address."""
        config = self.config
        # Answers that have no score keep the digest under which they were kept when 5 stood here for all.
        least = 5 if config.least is None else config.least
        values = (
            config.model, self.question, config.answer, least, config.frames, config.side, config.image,
            config.votes, config.drawn_at, config.tokens,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]

    def keep_answers(self, path: Path) -> None:
        """Keep answers in a file from now on, and use those that are there."""
        self.answers = AnswerFile(path)

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        """Mean verdict (b,) on episodes given as uint8 frames (t h w 3); NaN without a majority of readable answers.

        Raises OSError where the server cannot be asked; answers so far are kept.
        """
        digest, pool = self.digest, ThreadPoolExecutor(self.config.concurrency)
        found: dict[tuple[int, int], Answer] = {}
        waiting: dict[Future[Answer], tuple[int, int]] = {}
        try:
            for number, (episode, video, instruction) in enumerate(
                zip(episodes, frames, instructions, strict=True)
            ):
                checksum = zlib.crc32(np.ascontiguousarray(video).tobytes())
                for vote in range(self.config.votes):
                    kept = self.answers.find(episode, vote, digest, checksum)
                    if kept is not None:
                        found[number, vote] = kept
                        continue
                    asked = pool.submit(
                        self._ask, Answer(episode, vote, digest, checksum, None), video, instruction
                    )
                    waiting[asked] = number, vote
            for done in as_completed(waiting):
                found[waiting[done]] = self._keep(done.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for late, place in waiting.items():
                # Where one question failed, the answers to others that were under way are paid for all the same.
                if place not in found and not late.cancelled() and late.exception() is None:
                    self._keep(late.result())
        return np.array(
            [mean_verdict([found[n, v] for v in range(self.config.votes)]) for n in range(len(episodes))]
        )

    def _keep(self, answer: Answer) -> Answer:
        self.answers.add(answer)
        self.costs.count(answer)
        return answer

    def _ask(self, about: Answer, video: np.ndarray, instruction: str) -> Answer:
        shown = video[shown_frames(len(video), self.config.frames)]
        text = self.question.replace("{frames}", str(len(shown))).replace("{instruction}", instruction)
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_url(frame, self.config.side, self.config.image)}}
            for frame in shown
        ]
        content.append({"type": "text", "text": text})
        config = self.config
        try:
            reply = self.server.ask(
                content, temperature=config.drawn_at, tokens=config.tokens, seed=about.vote
            )
        except UnusableAnswerError as error:
            return replace(about, reason=str(error))
        answered = replace(
            about,
            text=reply.text[-KEPT_TEXT:],
            seconds=round(reply.seconds, 3),
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )
        try:
            verdict = FORMATS[config.answer](reply.text, len(shown), config.least)
        except UnusableAnswerError as error:
            return replace(answered, reason=str(error))
        return replace(answered, verdict=verdict, reason="" if verdict is not None else "it cannot be seen")


class Costs:
    """What was asked, and what it cost."""

    def __init__(self) -> None:
        self.answers = 0
        self.seconds = 0.0
        self.tokens: dict[str, int] = {}
        self.uncounted = 0
        self.reasons: Counter[str] = Counter()

    def count(self, answer: Answer) -> None:
        """Add the costs of one answer."""
        self.answers += 1
        self.seconds += answer.seconds
        for name in ("prompt_tokens", "completion_tokens"):
            value = getattr(answer, name)
            if value is not None:
                self.tokens[name] = self.tokens.get(name, 0) + value
        self.uncounted += answer.prompt_tokens is None or answer.completion_tokens is None
        if answer.verdict is None:
            self.reasons[answer.reason] += 1

    def lines(self) -> Iterator[str]:
        """The costs in words, and why there was no verdict."""
        asked = self.tokens.get("prompt_tokens", 0), self.tokens.get("completion_tokens", 0)
        missing = f" ({self.uncounted} answers came without a count)" if self.uncounted else ""
        yield (
            f"{self.answers} answers in {self.seconds:.1f} s of the server's time: {asked[0]} tokens read, "
            f"{asked[1]} written{missing}"
        )
        for reason, count in self.reasons.most_common(3):
            yield f"no verdict in {count} of them: {reason}"


def mean_verdict(answers: Sequence[Answer]) -> float:
    """Mean of the verdicts; NaN unless more than half of the answers hold one, and where they balance."""
    verdicts = [answer.verdict for answer in answers if answer.verdict is not None]
    if 2 * len(verdicts) <= len(answers):
        return float("nan")
    mean = float(np.mean(verdicts))
    return float("nan") if mean == 0.5 and len(answers) > 1 else mean


def read_prompt(path: Path) -> str:
    """The question in a file, which has to hold ``{instruction}``."""
    text = read_text(path, "a text file with the question to the model").strip()
    if "{instruction}" not in text:
        raise ValueError(
            f"{path} does not hold {{instruction}}, the place of what the robot was told; add it"
        )
    if len(text) > 100_000:
        raise ValueError(f"{path} holds {len(text)} characters, expected a question of at most 100,000")
    return text


def parse_address(address: str) -> tuple[str, VLMConfig]:
    """Server and configuration of ``openai:URL#model=NAME&option=value&...``; ValueError names the option."""
    url, _, options = address.removeprefix(SCHEME).partition("#")
    if "@" in options.partition("=")[0]:
        # What stands before it may be the end of a password.
        raise ValueError("what stands after # are no options; in a password, # is written %23")
    try:
        pairs = parse_qsl(options, keep_blank_values=True, strict_parsing=True) if options else []
    except ValueError:
        raise ValueError(f"{options!r} are no options; expected model=NAME&option=value") from None
    kinds = _kinds()
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name not in kinds:
            raise ValueError(
                f"the judge has no option {name!r}{did_you_mean(name, list(kinds))}; it has {', '.join(kinds)}"
            )
        if name in given:
            raise ValueError(f"the judge's option {name} is given twice")
        given[name] = _value(name, value, kinds[name])
    if "model" not in given:
        shown = without_password(url)
        raise ValueError(f"{SCHEME}{shown} names no model; write {SCHEME}{shown}#model=NAME")
    return url, VLMConfig(**given)


def _kinds() -> Mapping[str, Any]:
    numbers = {name: int for name in ("least", "frames", "side", "votes", "tokens", "concurrency", "retries")}
    return {
        "model": str, "prompt": Path, "answer": tuple(FORMATS), **numbers, "image": ("png", "jpeg"),
        "temperature": float, "timeout": float, "key": str, "name": str,
    }  # fmt: skip


def _value(name: str, text: str, kind: Any) -> Any:
    if isinstance(kind, tuple):
        if text not in kind:
            raise ValueError(f"the judge's option {name} is {text!r}; expected {' or '.join(kind)}")
        return text
    try:
        value = kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise ValueError(f"the judge's option {name} is {text!r}; expected {expected}") from None
    if not text or (kind is float and not np.isfinite(value)):
        raise ValueError(f"the judge's option {name} is {text!r}; expected a value")
    return value
