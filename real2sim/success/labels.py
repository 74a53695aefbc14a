"""Human labels of episodes, and the judge that returns them."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from real2sim.files import write_text
from real2sim.spreadsheets import read_table

LABELS = {"success": 1.0, "failure": 0.0, "unclear": float("nan")}
"""Allowed labels and their probabilities; an empty label means not labelled yet."""


class HumanLabels:
    """A judge that returns human labels; unclear and unlabelled episodes get no verdict."""

    def __init__(self, labels: Mapping[str, str], name: str = "human") -> None:
        for episode, label in labels.items():
            if label not in LABELS:
                raise ValueError(f"{episode!r} is labelled {label!r}, not success, failure or unclear")
        self.labels = dict(labels)
        self.name = name

    @classmethod
    def from_csv(cls, path: Path | str, name: str = "human") -> HumanLabels:
        """Labels of a CSV with the columns ``episode`` and ``label``; empty labels are left out."""
        rows = read_labels(Path(path))
        return cls({row["episode"]: row["label"] for row in rows if row["label"]}, name)

    @property
    def digest(self) -> str:
        """Changes with every label."""
        text = "\n".join(f"{episode},{label}" for episode, label in sorted(self.labels.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        """1 for a success, 0 for a failure, NaN where there is no clear label; frames are ignored."""
        return np.array([LABELS[self.labels.get(episode, "unclear")] for episode in episodes])


def read_labels(path: Path) -> list[dict[str, str]]:
    """Rows of a label CSV; ValueError names the row of a label that is not allowed or given twice."""
    table = read_table(path, "labels", ("episode", "label"))
    seen: set[str] = set()
    for index, row in enumerate(table.rows):
        row["label"] = row["label"].lower()
        if row["label"] and row["label"] not in LABELS:
            raise ValueError(
                f"{table.where(index, 'label')} is {row['label'][:60]!r}, "
                "expected success, failure, unclear or nothing"
            )
        if not row["episode"]:
            raise ValueError(f"{table.where(index, 'episode')} is empty; expected the id of an episode")
        if row["episode"] in seen:
            raise ValueError(
                f"{path}, row {table.numbers[index]}: episode {row['episode']!r} is there twice; keep one of the rows"
            )
        seen.add(row["episode"])
    return list(table.rows)


def write_labels(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Replace a label CSV atomically; the columns are those of the first row."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["episode", "label"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
