"""Human labels of episodes, and the judge that returns them."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from real2sim.files import write_text
from real2sim.spreadsheets import read_table
from real2sim.success.label_key import KEY_FILE, read_key

logger = logging.getLogger(__name__)

LABELS = {"success": 1.0, "failure": 0.0, "unclear": float("nan")}
"""Allowed labels and their probabilities; an empty label means not labelled yet."""
UNCLEAR = "unclear"


class HumanLabels:
    """A judge that returns human labels; unclear and unlabelled episodes get no verdict."""

    def __init__(self, labels: Mapping[str, str], name: str = "human") -> None:
        for episode, label in labels.items():
            if label not in LABELS:
                raise ValueError(f"{episode!r} is labelled {label!r}, not success, failure or unclear")
        self.labels = dict(labels)
        self.name = name

    @classmethod
    def from_csv(cls, path: Path | str, name: str = "human", folders: Sequence[Path] = ()) -> HumanLabels:
        """What the raters of a label file agree on; ``folders`` may hold the key of blind labels."""
        return cls(episode_labels([Path(path)], folders), name)

    def unclear_as_failures(self) -> HumanLabels:
        """The same labels with failure in place of unclear, by a judge with another name."""
        strict = {episode: "failure" if label == UNCLEAR else label for episode, label in self.labels.items()}
        return HumanLabels(strict, f"{self.name}-unclear-is-failure")

    @property
    def digest(self) -> str:
        """Changes with every label."""
        text = "\n".join(f"{episode},{label}" for episode, label in sorted(self.labels.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        """1 for a success, 0 for a failure, NaN where there is no clear label; frames are ignored."""
        return np.array([LABELS[self.labels.get(episode, UNCLEAR)] for episode in episodes])


def episode_labels(files: Sequence[Path], folders: Sequence[Path] = ()) -> dict[str, str]:
    """Episode id -> success, failure or unclear, from label files of any number of raters.

    An episode has the label that more than half of its raters gave it, else it is unclear; so it is where two
    raters differ.  Episodes without a label are left out.  Clips of blind labels are looked up in the keys of
    ``folders`` (runs or dataset folders) and beside each file.
    """
    votes: dict[str, Counter[str]] = {}
    for path in files:
        for row in read_labels(Path(path), folders):
            if row["label"]:
                votes.setdefault(row["episode"], Counter())[row["label"]] += 1
    split = sum(len(counts) > 1 for counts in votes.values())
    if split:
        logger.warning(
            "raters differ on %d of %d labelled episodes; the majority counts, else they are unclear",
            split,
            len(votes),
        )
    return {episode: _majority(counts) for episode, counts in votes.items()}


def _majority(counts: Counter[str]) -> str:
    label, most = counts.most_common(1)[0]
    return label if 2 * most > counts.total() else UNCLEAR


def read_labels(path: Path, folders: Sequence[Path] = ()) -> list[dict[str, str]]:
    """Rows of a label CSV with the columns ``label`` and ``episode``, or ``clip`` in its place, and maybe ``rater``.

    Every row gets its ``episode``: that of a clip is looked up in the keys of ``folders`` and beside the file.
    ValueError names the row of a label that is not allowed, that a rater gave twice, or whose clip is unknown.
    """
    table = read_table(path, "labels", ("label",))
    blind = "episode" not in table.headings
    if blind and "clip" not in table.headings:
        found = ", ".join(table.headings)
        raise ValueError(
            f"{path} has no column episode or clip; it has the columns {found}, expected episode and label"
        )
    key = _keys([*folders, path.parent]) if blind else {}
    seen: set[tuple[str, str]] = set()
    for index, row in enumerate(table.rows):
        row["label"] = row["label"].lower()
        if row["label"] and row["label"] not in LABELS:
            raise ValueError(
                f"{table.where(index, 'label')} is {row['label'][:60]!r}, "
                "expected success, failure, unclear or nothing"
            )
        column = "clip" if blind else "episode"
        if not row[column]:
            raise ValueError(f"{table.where(index, column)} is empty; expected the id of an {column}")
        if (row[column], row.get("rater", "")) in seen:
            raise ValueError(
                f"{path}, row {table.numbers[index]}: {column} {row[column]!r} is there twice; keep one of the rows"
            )
        seen.add((row[column], row.get("rater", "")))
        if blind and row["clip"] not in key:
            places = ", ".join(str(folder / KEY_FILE) for folder in (*folders, path.parent))
            raise ValueError(
                f"{table.where(index, 'clip')} is {row['clip'][:60]!r}, which is not in {places}; "
                "name the run or dataset folder that was labelled"
            )
        if blind:
            row["episode"] = key[row["clip"]]
    return list(table.rows)


def _keys(folders: Sequence[Path]) -> dict[str, str]:
    return {clip: episode for folder in folders for clip, episode in read_key(folder).items()}


def write_labels(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Replace a label CSV atomically; the columns are those of the first row."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["episode", "label"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
