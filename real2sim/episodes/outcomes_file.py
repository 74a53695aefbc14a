"""Outcomes of recorded episodes that somebody wrote down: a CSV file with the columns episode and success."""

from __future__ import annotations

import csv
import io
from pathlib import Path

WORDS = {
    "true": True,
    "1": True,
    "success": True,
    "yes": True,
    "false": False,
    "0": False,
    "failure": False,
    "no": False,
}
UNCLEAR = ("", "unclear")


def read_outcomes(path: Path, episodes: int) -> dict[int, bool]:
    """Episode number -> whether it succeeded; episodes whose outcome is empty or ``unclear`` are left out.

    Commas or semicolons, with or without a byte-order mark.  Raises ValueError naming the line for a number that
    is not one of the dataset's ``episodes``, a word that is no outcome, or an episode given twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected a CSV file with the columns episode and success"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as CSV in UTF-8") from error
    heading = text.split("\n", 1)[0]
    delimiter = ";" if heading.count(";") > heading.count(",") else ","
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV ({error})") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    if not {"episode", "success"} <= set(names):
        raise ValueError(f"{path} has columns {', '.join(names) or 'none'}; expected episode and success")
    at_episode, at_success = names.index("episode"), names.index("success")
    found: dict[int, bool] = {}
    seen: set[int] = set()
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(at_episode, at_success):
            raise ValueError(f"{path}, line {line} has {len(row)} columns, expected {len(names)}")
        number, outcome = row[at_episode].strip(), row[at_success].strip().lower()
        if not number.isdecimal() or int(number) >= episodes:
            raise ValueError(
                f"{path}, line {line}: episode is {number!r}, expected a number from 0 to {episodes - 1}"
            )
        if int(number) in seen:
            raise ValueError(f"{path}, line {line}: episode {number} is given a second time")
        seen.add(int(number))
        if outcome in UNCLEAR:
            continue
        if outcome not in WORDS:
            raise ValueError(f"{path}, line {line}: success is {outcome!r}, expected true, false or unclear")
        found[int(number)] = WORDS[outcome]
    return found
