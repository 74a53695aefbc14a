"""Tables as spreadsheets write them: CSV with commas, semicolons or tabs, read as text; errors name row and column.

Rows are numbered as a spreadsheet shows them: the headings are row 1.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from real2sim.files import decode, read_bytes
from real2sim.wording import NO_OUTCOME, OUTCOMES

MOST = 10**9
"""Largest count of episodes that is believed."""
COUNTS = ("successes", "episodes", "n_trials")
RATES = ("rate", "success_rate")
NAMES = ("policy", "task", "start")
LABELS = (*NAMES, "family", "set")
"""Columns of names, which must be printable."""
SAME = (("rate", "success_rate"), ("episodes", "n_trials"))
"""Columns that mean the same; a table has one of each pair."""
SUMS = ("total", "grand total", "sum", "subtotal", "average", "avg", "mean", "median", "overall", "std", "stdev",
        "gesamt", "summe", "mittelwert", "durchschnitt")  # fmt: skip
"""What a line is called that sums up the others, in a column of policies or tasks."""
NOT_MEASURED = (
    "n/a",
    "na",
    "nan",
    "none",
    "null",
    "tbd",
    "?",
    "-",
    "--",
    "\u2013",
    "\u2014",
    "#n/a",
    "#div/0!",
    "#value!",
    "#ref!",
)
"""What people write where nothing was measured, also through a formula."""
DATE = (
    r"\d{1,4}[-./ ](jan|feb|m[a\u00e4]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]*\.?([-./ ]\d+)?|"
    r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}( .*)?"
)
"""A fraction such as 3/10, when a spreadsheet took it for a date."""


@dataclass(frozen=True)
class Table:
    """Cells of a CSV file, as text without spaces around them; rows without any text are left out."""

    path: Path
    headings: tuple[str, ...]
    """In lower case, with ``_`` for spaces."""
    rows: tuple[dict[str, str], ...]
    numbers: tuple[int, ...]
    """Number of each row in the file."""
    called: Mapping[str, str] = field(default_factory=dict)
    """What the file calls a column that has another name here."""

    def where(self, index: int, column: str) -> str:
        """The place of a cell, for errors."""
        return f"{self.path}, row {self.numbers[index]}, column {self.called.get(column, column)}"


def read_table(path: Path, what: str, required: Sequence[str] = ()) -> Table:
    """The cells of a CSV file.

    Raises FileNotFoundError, or ValueError where the file is no CSV, has no row, lacks a ``required`` column, or
    holds text in a column without a heading.
    """
    path = Path(path)
    records, first = _records(path, what)
    records = _without_row_numbers(records)
    headings = [re.sub(r"\s+", "_", cell.strip().lower()) for cell in records[0]]
    twice = [name for name in headings if name and headings.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has two columns {twice[0]!r}; remove one of them")
    missing = [name for name in required if name not in headings]
    if missing:
        found = ", ".join(filter(None, headings)) or "none"
        raise ValueError(
            f"{path} has no column {missing[0]}; it has the columns {found}, "
            f"expected {' and '.join(required)}"
        )
    rows, numbers = [], []
    for number, record in enumerate(records[1:], start=first + 1):
        cells = [cell.strip() for cell in record]
        if not any(cells):
            continue
        for place, cell in enumerate(cells):
            if cell and place and len(headings) == 1:
                raise ValueError(
                    f"{path}, row {first} holds {records[0][0][:60]!r} alone and row {number} {len(cells)} cells; the "
                    "first row must hold the headings, e.g. policy, task, successes, episodes"
                )
            if cell and (place >= len(headings) or not headings[place]):
                raise ValueError(
                    f"{path}, row {number}, column {place + 1} holds {cell[:60]!r} and has no heading; "
                    "name the column or empty it"
                )
        cells += [""] * (len(headings) - len(cells))
        rows.append({name: cell for name, cell in zip(headings, cells, strict=False) if name})
        numbers.append(number)
    if not rows:
        raise ValueError(f"{path} holds headings and no row; expected {what} below them")
    return Table(path, tuple(filter(None, headings)), tuple(rows), tuple(numbers))


def _without_row_numbers(records: list[list[str]]) -> list[list[str]]:
    """The rows without a first column that has no heading and counts them from 0 or 1, as pandas writes its index."""
    told = [record for record in records[1:] if any(cell.strip() for cell in record)]
    if len(records[0]) < 2 or records[0][0].strip() or not told:
        return records
    found = [record[0].strip() for record in told]
    if not any(found == [str(first + place) for place in range(len(told))] for first in (0, 1)):
        return records
    return [record[1:] for record in records]


def read_measurements(path: Path, what: str) -> dict[str, list[str | float]]:
    """Columns of a table of rates or outcomes: counts and rates as numbers (NaN where empty), all else as text.

    Names keep their spelling.  ``90%`` and ``0,9`` are 0.9.  ValueError names row and column of a name that is
    missing, a count that is no whole number, a rate outside [0, 1] or one that contradicts its counts, and an
    outcome that is neither true nor false.
    """
    return measurements(read_table(path, what))


def measurements(table: Table) -> dict[str, list[str | float]]:
    """The same of a table that has been read."""
    columns: dict[str, list[str | float]] = {name: [] for name in table.headings}
    _check_headings(table)
    seen: dict[tuple[str, str], str] = {}
    for index, row in enumerate(table.rows):
        values: dict[str, float] = {}
        for name, cell in row.items():
            where = table.where(index, name)
            if name in NAMES and not cell:
                raise ValueError(f"{where} is empty; expected the name of a {name}, or an empty row")
            if name in LABELS and cell:
                _check_label(cell, where)
            if name in ("policy", "task"):
                check_no_sum(cell, where)
                alike = seen.setdefault((name, " ".join(normalize("NFC", cell).split())), cell)
                if alike != cell:
                    raise ValueError(
                        f"{where} is {cell!a}, and a row above has {alike!a}, which looks the same; write "
                        "the name in one way"
                    )
            if name in ("success", "valid") and cell.lower() not in (*OUTCOMES, *NO_OUTCOME):
                raise ValueError(
                    f"{where} is {cell[:60]!r}, expected true, false or nothing where it is unclear"
                )
            if name == "probability" and cell:
                read_rate(cell, where)
            if name in COUNTS:
                values[name] = read_count(cell, where)
            elif name in RATES:
                values[name] = read_rate(cell, where)
            columns[name].append(values.get(name, cell))
        _check_counts(row, values, table, index)
    return columns


def read_count(cell: str, where: str) -> float:
    """A whole number of episodes; NaN for an empty cell."""
    if not cell:
        return math.nan
    thousands = re.fullmatch(r"\d{1,3}([,.' ]\d{3})+", cell)
    if thousands or not re.fullmatch(r"\+?\d+(\.0*)?", cell):
        hint = "write it without a separator" if thousands else "correct the cell"
        hint = _hint(cell, "write successes and episodes into two columns") or hint
        raise ValueError(f"{where} is {cell[:60]!r}, expected a whole number; {hint}")
    if len(cell) > 300 or float(cell) > MOST:
        raise ValueError(f"{where} is {cell[:60]!r}, expected at most {MOST} episodes; correct the cell")
    return float(cell)


def read_rate(cell: str, where: str) -> float:
    """A rate between 0 and 1, also written as a percentage or with a decimal comma; NaN for an empty cell."""
    if not cell:
        return math.nan
    found = re.fullmatch(r"(\+?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*(%?)", cell)
    if not found or len(cell) > 300:
        hint = _hint(cell, "write counts into two columns, successes and episodes") or "correct the cell"
        raise ValueError(f"{where} is {cell[:60]!r}, expected a rate such as 0.9 or 90%; {hint}")
    value = float(found[1].replace(",", ".")) / (100 if found[2] else 1)
    if not 0 <= value <= 1:
        raise ValueError(
            f"{where} is {cell[:60]!r}, a rate must lie between 0 and 1; write 90% or 0.9, not 90"
        )
    return value


def _hint(cell: str, of_counts: str) -> str:
    """What to do about a cell that is no number, where its form says what it is; ``of_counts`` for ``9/10``."""
    if cell.lower() in NOT_MEASURED:
        return "leave the cell empty where nothing was measured"
    if re.fullmatch(DATE, cell, re.IGNORECASE):
        return "a spreadsheet has taken it for a date, type it again as a number"
    return of_counts if "/" in cell else ""


def _check_headings(table: Table) -> None:
    """Raise a ValueError where two columns say the same, or rows are trials and counts at once."""
    pairs = [pair for pair in SAME if set(pair) <= set(table.headings)]
    counted = [name for name in (*COUNTS, *RATES) if name in table.headings]
    if "success" in table.headings and counted:
        pairs.append(("success", counted[0]))
    for one, other in pairs:
        raise ValueError(
            f"{table.path} has both a column {one} and a column {other}, of which only one can be meant; "
            "remove or rename one of them"
        )


def check_no_sum(name: str, where: str) -> None:
    """Raise a ValueError for the heading of a line that sums up the lines above, as spreadsheets have it."""
    if re.split(r"\u00b1|\+/?-", name)[0].strip().rstrip(":.*").casefold() in SUMS:
        raise ValueError(
            f"{where} is {name[:60]!r}, which reads like a line that sums up the others; remove the line, or write "
            "another name if it is one"
        )


def rate_fits(written: str, rate: float, successes: float, episodes: float) -> bool:
    """Whether a rate, as it is written, is that of ``successes`` (NaN: of any whole number) in ``episodes``."""
    slack = 0.5 * _last_digit(written) + 1e-9
    nearest = round(rate * episodes) if math.isnan(successes) else successes
    possible = [nearest + step for step in ((-1, 0, 1) if math.isnan(successes) else (0,))]
    return any(abs(count / episodes - rate) <= slack for count in possible)


def _check_label(cell: str, where: str) -> None:
    if not cell.isprintable() or len(cell) > 200:
        raise ValueError(
            f"{where} is {cell[:60]!r}, expected a name of at most 200 printable characters; correct the cell"
        )


def _check_counts(row: dict[str, str], values: dict[str, float], table: Table, index: int) -> None:
    successes = values.get("successes", math.nan)
    episodes = values.get("episodes", values.get("n_trials", math.nan))
    if successes > episodes:
        raise ValueError(
            f"{table.where(index, 'successes')} is {successes:g}, more than the {episodes:g} episodes; "
            "a rate must lie between 0 and 1"
        )
    if "successes" in values and "episodes" in values and math.isnan(successes) != math.isnan(episodes):
        empty = "successes" if math.isnan(successes) else "episodes"
        raise ValueError(
            f"{table.where(index, empty)} is empty; give successes and episodes, or neither of them"
        )
    for name in RATES:
        rate = values.get(name, math.nan)
        if math.isnan(rate) or math.isnan(episodes) or not episodes:
            continue
        if not rate_fits(row[name], rate, successes, episodes):
            said = f"{successes:g} of" if not math.isnan(successes) else "no whole number of successes in"
            raise ValueError(
                f"{table.where(index, name)} is {row[name]}, which is {said} {episodes:g} episodes; "
                "correct the rate or the counts"
            )


def _last_digit(cell: str) -> float:
    """What one unit of the last digit of a rate is worth."""
    number, *exponent = re.sub(r"[%\s]", "", cell).replace(",", ".").lower().split("e")
    digits = len(number.partition(".")[2])
    return 10.0 ** (int(exponent[0]) if exponent else 0) / 10**digits / (100 if "%" in cell else 1)


def _records(path: Path, what: str) -> tuple[list[list[str]], int]:
    """Rows from the headings on, and the number of the row that holds them."""
    content = read_bytes(path, f"{what} as CSV")
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ValueError(f"{path} is a spreadsheet's own format, not CSV; export {what} as CSV (UTF-8)")
    text = decode(content, str(path))
    for start, form in (("{", "JSON"), ("[{", "JSON"), ("<", "a web page")):
        if text.lstrip().startswith(start):
            raise ValueError(f"{path} holds {form}, not CSV; expected {what} as CSV")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path}, row {line} holds a NUL character; export {what} as CSV again")
    lines = text.splitlines()
    if not any(line.strip() for line in lines):
        raise ValueError(f"{path} is empty; expected {what} as CSV")
    named = re.match(r"\s*\"?sep=([,;\t])\"?[ \t]*(\r\n|\r|\n)", text)
    if named:
        # Excel's own first line, which says what separates the cells and which it does not show.
        text = text[named.end() :]
    heading = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = named[1] if named else max(",;\t", key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        records = list(reader)
    except csv.Error as error:
        raise ValueError(
            f"{path}, row {reader.line_num} is not valid CSV ({error}); is a quote missing?"
        ) from error
    first = 0
    while first < len(records) and not any(cell.strip() for cell in records[first]):
        first += 1
    if first == len(records):
        raise ValueError(f"{path} is empty; expected {what} as CSV")
    return records[first:], first + 1
