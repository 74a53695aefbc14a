"""The file that raters fill in: one row per clip and rater, on disk as soon as it is given."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from real2sim.episodes.folder_lock import file_lock
from real2sim.spreadsheets import read_table
from real2sim.success.labels import LABELS, check_raters, write_labels

COLUMNS = ("clip", "rater", "label")


@dataclass(frozen=True)
class Rating:
    """What a rater said of a clip."""

    clip: str
    rater: str
    label: str


def check_rater(name: str, where: str = "the rater's name") -> str:
    """The name of a rater; ValueError unless it is a short word or two that any spreadsheet leaves alone."""
    if not re.fullmatch(r"\w(?:[\w .-]{0,38}[\w.])?", name):
        raise ValueError(
            f"{where} is {name[:60]!r}, expected 1 to 40 letters, digits, spaces, dots, dashes or underscores"
        )
    return name


class RaterFile:
    """A CSV file of blind labels, shared by any number of raters, also at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ratings(self) -> list[Rating]:
        """Every label in the file, each rater's in the order in which they were given.

        ValueError for a file of another kind, which would otherwise be overwritten.
        """
        if not os.path.lexists(self.path):
            return []
        table = read_table(self.path, "blind labels")
        if set(table.headings) != set(COLUMNS):
            raise ValueError(
                f"{self.path} has the columns {', '.join(table.headings)}, expected {', '.join(COLUMNS)}; "
                "it is no file of this page, choose another one with --out"
            )
        check_raters(table, "clip")
        for index, row in enumerate(table.rows):
            check_rater(row["rater"], f"{table.where(index, 'rater')}")
            if row["label"] not in LABELS:
                raise ValueError(
                    f"{table.where(index, 'label')} is {row['label'][:60]!r}, expected {', '.join(LABELS)}"
                )
        return [Rating(row["clip"], row["rater"], row["label"]) for row in table.rows]

    def check_place(self, rater: str) -> None:
        """Raise what is wrong before anybody labels: a place that cannot be written, a file of another kind, or labels
        of a rater whose name differs from ``rater`` in capitals alone."""
        with file_lock(self.path):
            self._check_spelling(self.ratings(), rater)

    def _check_spelling(self, ratings: list[Rating], rater: str) -> None:
        known = {rating.rater for rating in ratings}
        other = next((name for name in known - {rater} if name.casefold() == rater.casefold()), None)
        if other is not None:
            raise ValueError(
                f"the rater's name is {rater!r}, and {self.path} has labels of {other!r}; go on under that name, or "
                "choose another"
            )

    def add(self, rating: Rating) -> None:
        """Write down a label; an earlier one of the same rater for the same clip is replaced."""
        if rating.label not in LABELS:
            raise ValueError(f"the label is {rating.label[:60]!r}, expected {', '.join(LABELS)}")
        with file_lock(self.path):
            ratings = self.ratings()
            self._check_spelling(ratings, rating.rater)
            kept = [old for old in ratings if (old.clip, old.rater) != (rating.clip, rating.rater)]
            self._write([*kept, rating])

    def undo(self, rater: str) -> Rating | None:
        """Take back the last label of a rater and return it; None where there is none."""
        with file_lock(self.path):
            ratings = self.ratings()
            last = next((rating for rating in reversed(ratings) if rating.rater == rater), None)
            if last is not None:
                self._write([rating for rating in ratings if rating is not last])
            return last

    def _write(self, ratings: list[Rating]) -> None:
        if ratings:
            write_labels(self.path, [vars(rating) for rating in ratings])
        else:
            self.path.unlink()
