"""Words of messages that several parts share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

OUTCOMES = {
    **dict.fromkeys(("true", "1", "1.0", "1,0", "success", "yes", "wahr", "vrai", "verdadero", "vero"), True),
    **dict.fromkeys(("false", "0", "0.0", "0,0", "failure", "no", "falsch", "faux", "falso"), False),
}
"""How people and spreadsheets write whether one trial succeeded, in lower case."""
NO_OUTCOME = ("", "unclear")
"""What stands where it is not known."""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """``"; did you mean 'x'?"`` for the known names that look most like ``name``, or nothing."""
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(item) for item in close)}?" if close else ""


_USER = re.compile(
    r"(:/{1,3})(?!\[)([^\s/?#@:'\"]*)(:(?!\d{1,5}(?:[/?#,;)\s'\"]|$))(?:[^\s/?#]*(?=@)|[^\s'\"]*))?@"
)
_KEY = re.compile(r"(:/{1,3}[^\s?#'\"]*\?)([^\s#'\"]*)")
_SECRET = re.compile(r"((?:^|&)[^=&]*(?:key|token|secret|passw|auth)[^=&]*=)[^&]+", re.IGNORECASE)


def whole_number(text: str) -> int | None:
    """The whole number from 0 that a text is, which has at most 18 digits; None for any other text."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def without_password(text: str) -> str:
    """``text`` with ``***`` for each password, or user without one, and each key of a query that stands in an address
    (``ws://me:***@host:8000``)."""
    hidden = _USER.sub(lambda found: f"{found[1]}{found[2] + ':' if found[3] else ''}***@", text)
    return _KEY.sub(lambda found: found[1] + _SECRET.sub(r"\1***", found[2]), hidden)


def parsing_complaint(box: str) -> str:
    """What tyro says in a box of several lines, as one sentence without the box and the help texts in it."""
    said: list[list[str]] = [[]]
    for line in box.splitlines()[1:]:
        text = line.strip("│╭╮╰╯─- ")
        # A line without text separates two paragraphs; help texts are indented by more than five places.
        if not text:
            said.append([])
        elif (
            not line.lstrip("│ ").startswith("-" * 3)
            and len(line.strip("│")) - len(line.strip("│").lstrip()) < 8
        ):
            said[-1].append(line.strip("│ "))
    kept = [words for words in said if words and not words[0].startswith(("For full", "Argument helptext"))]
    sentence = "; ".join(" ".join(words) for words in kept)
    sentence = re.sub(r"Error parsing ([A-Z]\w*: )?", "", sentence)
    several = re.match(r"(.*?): no type matching (.*?) could be instantiated from \[(.*?)\]\.", sentence)
    if several is None:
        return sentence
    option, kinds, found = several.groups()
    wanted = [kind.strip("{}") for kind in kinds.split("|") if kind != "{None}"]
    return f"{option}: expected {' or '.join(wanted)}, got {found or 'nothing'}"
