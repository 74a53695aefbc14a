"""Results of checks, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    is_problem: bool
    text: str

    def __str__(self) -> str:
        return f"{'problem' if self.is_problem else 'ok'}: {self.text}"


def attempt(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a check finds; an error of the user's files is a problem like others."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except (ValueError, OSError, ImportError) as error:
        found.append(Finding(True, str(error)))
    return found
