"""A chat server with OpenAI's interface: one request and its answer, with retries, limits and counted costs."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from real2sim.wording import without_password

LARGEST_REQUEST = 32 << 20
"""Bytes of a request."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts at the most, also where a server asks for more."""
BUSY = frozenset((408, 409, 425, 429))
"""Status codes after which, as after 5xx, the same request is worth another attempt."""


class UnusableAnswerError(ValueError):
    """The server answered, but with something that is no answer to the question."""


class ServerError(OSError):
    """The server cannot be asked: nothing is known about the question."""


@dataclass(frozen=True)
class Reply:
    """What a model said, and what that cost."""

    text: str
    seconds: float
    """From the request to the last byte, waiting between attempts not counted."""
    prompt_tokens: int | None = None
    """As the server counts them; None where it does not say."""
    completion_tokens: int | None = None


@dataclass(frozen=True)
class ChatServer:
    """Where and how a model is asked."""

    url: str
    """Base address, e.g. ``http://127.0.0.1:8000/v1``."""
    model: str
    key_variable: str | None = None
    """Environment variable with the API key; None: no key is sent."""
    timeout: float = 120.0
    """Seconds for one attempt, from the connection to the last byte."""
    retries: int = 4
    """Further attempts after a server that is busy, fails or cannot be reached."""
    longest_answer: int = 1 << 20
    """Bytes of an answer that are read at the most."""

    def __post_init__(self) -> None:
        shown = without_password(self.url)
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known:
            raise ValueError(
                f"{shown!r} is no address of a server; expected one like http://127.0.0.1:8000/v1"
            )
        if parts.username or parts.password:
            raise ValueError(
                f"the address of {parts.hostname} holds a user name or a password; put the key into an environment "
                "variable and name it with key=VARIABLE"
            )
        if parts.query:
            raise ValueError(
                f"{shown!r} has a query behind a question mark; expected a base address like http://127.0.0.1:8000/v1, "
                "and a key in an environment variable that key=VARIABLE names"
            )
        if self.timeout <= 0 or self.retries < 0 or self.longest_answer < 1:
            raise ValueError("timeout must be positive, retries not negative")

    def key(self) -> str | None:
        """The API key; ValueError, which never shows it, where there is none or it cannot be one."""
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise ValueError(
                f"the environment variable {self.key_variable} with the API key of {self.url} is not set; export it"
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"what {self.key_variable} holds cannot be an API key; export it again")
        return key

    def ask(
        self, content: Sequence[Mapping[str, Any]], *, temperature: float, tokens: int, seed: int
    ) -> Reply:
        """The answer to one message of text and pictures.

        Raises UnusableAnswerError where there is an answer without a text, ServerError where there is none.
        """
        body = json.dumps(
            {
                "model": self.model,
                "messages": [{"role": "user", "content": list(content)}],
                "temperature": temperature,
                "max_tokens": tokens,
                "seed": seed,
                "stream": False,
            }
        ).encode()
        if len(body) > LARGEST_REQUEST:
            raise ValueError(
                f"a request to {self.url} would have {len(body) >> 20} MB, at most {LARGEST_REQUEST >> 20} are sent; "
                "choose fewer or smaller frames (frames=, side=)"
            )
        for attempt in range(self.retries + 1):
            began = time.monotonic()
            try:
                content_of_answer = self._post(body)
            except _TryAgainError as busy:
                if attempt == self.retries:
                    raise ServerError(
                        f"{self.url} gave no answer in {self.retries + 1} attempts ({busy}); answers so far are kept, "
                        "run the same command again once it does"
                    ) from busy
                pause(attempt, busy.wait)
                continue
            return _reply(content_of_answer, time.monotonic() - began)
        raise AssertionError("there is at least one attempt")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if (key := self.key()) is not None:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", body, headers, method="POST"
        )
        until = time.monotonic() + self.timeout
        try:
            with _OPENER.open(request, timeout=self.timeout) as response:
                return self._read(response, until)
        except urllib.error.HTTPError as error:
            with error:
                said = _first_words(self._read_error(error, until))
            if error.code in BUSY or error.code >= 500:
                raise _TryAgainError(f"status {error.code}{said}", _asked_wait(error.headers)) from None
            raise ServerError(
                f"{self.url} refuses the request with status {error.code}{said}; {self._remedy(error.code)}"
            ) from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError | socket.timeout):
                raise _TryAgainError(f"no answer within {self.timeout:g} s") from None
            raise _TryAgainError(str(reason) or type(error).__name__) from None

    def _read(self, response: Any, until: float) -> bytes:
        parts, size = [], 0
        while part := response.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > self.longest_answer:
                raise UnusableAnswerError(f"the answer is longer than {self.longest_answer} bytes")
            if time.monotonic() > until:
                raise TimeoutError
        return b"".join(parts)

    def _read_error(self, error: urllib.error.HTTPError, until: float) -> bytes:
        try:
            return self._read(error, until)
        except (OSError, ValueError, http.client.HTTPException):
            return b""

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            said = "name the environment variable that holds the key with key=VARIABLE"
            return said if self.key_variable is None else f"is the key in {self.key_variable} the right one?"
        if status == 404:
            return f"is {self.url} its base address, and does it serve the model {self.model!r}?"
        if 300 <= status < 400:
            return "it sends elsewhere, which is not followed; give the address it means"
        return "correct the judge's options"


class _TryAgainError(Exception):
    def __init__(self, said: str, wait: float | None = None) -> None:
        super().__init__(said)
        self.wait = wait


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key must not travel to a server that nobody named."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def pause(attempt: int, asked: float | None) -> None:
    """Wait before the next attempt: twice as long each time, less up to a half at random, or what was asked for."""
    usual = min(LONGEST_WAIT, 2.0**attempt) * random.uniform(0.5, 1.0)
    sleep(min(LONGEST_WAIT, usual if asked is None else max(asked, usual)))


def _asked_wait(headers: Any) -> float | None:
    text = str(headers.get("Retry-After", "")).strip() if headers is not None else ""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _first_words(content: bytes) -> str:
    words = " ".join(
        "".join(c if c.isprintable() else " " for c in content.decode("utf-8", "replace")).split()
    )
    return f" ({words[:200]})" if words else ""


def _reply(content: bytes, seconds: float) -> Reply:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise UnusableAnswerError("the answer is not JSON") from None
    try:
        text = values["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise UnusableAnswerError("the answer has no choices[0].message.content") from None
    if not isinstance(text, str):
        raise UnusableAnswerError(f"the content of the answer is {type(text).__name__}, not text")
    usage = values.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return Reply(
        text, seconds, _count(counted.get("prompt_tokens")), _count(counted.get("completion_tokens"))
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None
