"""Outcomes of recorded episodes that somebody wrote down: a CSV file with the columns episode and success."""

from __future__ import annotations

from pathlib import Path

from real2sim.spreadsheets import read_table
from real2sim.wording import NO_OUTCOME, OUTCOMES, whole_number


def read_outcomes(path: Path, episodes: int) -> dict[int, bool]:
    """Episode number -> whether it succeeded; episodes whose outcome is empty or ``unclear`` are left out.

    Raises ValueError naming row and column for a number that is not one of the dataset's ``episodes``, a word that is
    no outcome, or an episode given twice.
    """
    table = read_table(path, "outcomes", ("episode", "success"))
    found: dict[int, bool] = {}
    seen: set[int] = set()
    for index, row in enumerate(table.rows):
        number, outcome = whole_number(row["episode"]), row["success"].lower()
        where = table.where(index, "episode")
        if number is None or number >= episodes:
            raise ValueError(
                f"{where} is {row['episode'][:60]!r}, expected a number from 0 to {episodes - 1}; correct the cell"
            )
        if number in seen:
            raise ValueError(f"{where}: episode {number} is given a second time; keep one of the rows")
        seen.add(number)
        if outcome in NO_OUTCOME:
            continue
        if outcome not in OUTCOMES:
            raise ValueError(
                f"{table.where(index, 'success')} is {outcome[:60]!r}, expected true, false or unclear"
            )
        found[number] = OUTCOMES[outcome]
    return found
