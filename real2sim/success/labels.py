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

from real2sim.episodes.run_folder import RUN_FILE
from real2sim.files import write_text
from real2sim.spreadsheets import Table, read_table
from real2sim.success.label_key import KEY_FILE, read_key
from real2sim.wording import OUTCOMES

logger = logging.getLogger(__name__)

LABELS = {"success": 1.0, "failure": 0.0, "unclear": float("nan")}
"""Allowed labels and their probabilities; an empty label means not labelled yet."""
UNCLEAR = "unclear"
SAID = ("label", "success")
"""Columns that may say it; the first that is there counts."""


class HumanLabels:
    """A judge that returns human labels; unclear and unlabelled episodes get no verdict."""

    def __init__(self, labels: Mapping[str, str], name: str = "human") -> None:
        for episode, label in labels.items():
            if label not in LABELS:
                raise ValueError(f"{episode!r} is labelled {label!r}, not success, failure or unclear")
        self.labels = dict(labels)
        self.name = name

    @classmethod
    def from_csv(
        cls,
        path: Path | str,
        name: str = "human",
        folders: Sequence[Path] = (),
        others: Sequence[Path] = (),
    ) -> HumanLabels:
        """What the raters of a label file agree on; ``folders`` may hold the key of blind labels, those of ``others``
        are labels of other episodes."""
        return cls(episode_labels([Path(path)], folders, others), name)

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


def episode_labels(
    files: Sequence[Path], folders: Sequence[Path] = (), others: Sequence[Path] = ()
) -> dict[str, str]:
    """Episode id -> success, failure or unclear, from label files of any number of raters.

    An episode has the label that more than half of its raters gave it, else it is unclear; so it is where two
    raters differ.  Episodes without a label are left out.  Clips of blind labels are looked up in the keys of
    ``folders`` (runs or dataset folders) and beside each file; clips of ``others`` are left out.

    ValueError for a file without a label, one that is named twice, and a label that a rater gave in two files.
    """
    votes: dict[str, Counter[str]] = {}
    places: dict[Path, Path] = {}
    raters: dict[tuple[str, str], Path] = {}
    for path in map(Path, files):
        if path.resolve() in places:
            raise ValueError(f"{path} is named twice, and its labels would count twice; name each file once")
        places[path.resolve()] = path
        rows = read_labels(path, folders, others)
        if rows and not any(row["label"] for row in rows):
            raise ValueError(
                f"{path} labels no episode; write success, failure or unclear into its column label"
            )
        for row in rows:
            rater = row.get("rater", "").casefold()
            known = (row.get("clip") or row["episode"], rater)
            first = raters.setdefault(known, path) if rater and row["label"] else path
            if first is not path:
                raise ValueError(
                    f"{first} and {path} both hold a label of {row['rater']} for episode {row['episode']!r}; keep one"
                )
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


def read_labels(
    path: Path, folders: Sequence[Path] = (), others: Sequence[Path] = ()
) -> list[dict[str, str]]:
    """Rows of a label CSV with the columns ``label`` (or ``success``) and ``episode`` (or ``clip``), maybe ``rater``.

    Every row gets its ``episode``: that of a clip is looked up in the keys of ``folders`` and beside the file; rows of
    clips in the keys of ``others`` are left out. ValueError names the row of a label that is not allowed, that a rater
    gave twice, or whose clip is unknown.
    """
    table = read_table(path, "labels")
    said = next((name for name in SAID if name in table.headings), None)
    if said is None:
        found = ", ".join(table.headings)
        raise ValueError(
            f"{path} has no column label; it has the columns {found}, expected episode and label"
        )
    column = "episode" if "episode" in table.headings else "clip"
    if column not in table.headings:
        found = ", ".join(table.headings)
        raise ValueError(
            f"{path} has no column episode or clip; it has the columns {found}, expected episode and label"
        )
    places = _key_places(path, folders)
    key = _keys(places) if "clip" in table.headings else {}
    foreign = _keys(others).keys() - key.keys() if column == "clip" else set()
    check_raters(table, column)
    kept = []
    for index, row in enumerate(table.rows):
        word = row[said].lower()
        if word in OUTCOMES:
            word = "success" if OUTCOMES[word] else "failure"
        if word and word not in LABELS:
            raise ValueError(
                f"{table.where(index, said)} is {row[said][:60]!r}, expected success, failure, unclear or nothing "
                "(true and false, 1 and 0 are read, too)"
            )
        row["label"] = word
        clip = row.get("clip", "")
        if clip in foreign:
            continue
        if column == "clip" and clip not in key:
            looked = ", ".join(str(folder / KEY_FILE) for folder in places)
            raise ValueError(
                f"{table.where(index, 'clip')} is {clip[:60]!r}, which is not in {looked}; "
                "name the run or dataset folder that was labelled"
            )
        if clip in key and row.setdefault("episode", key[clip]) != key[clip]:
            raise ValueError(
                f"{table.where(index, 'episode')} is {row['episode'][:60]!r}, but the key says that clip {clip!r} is "
                f"{key[clip]!r}; restore the row, or leave out the column clip"
            )
        kept.append(row)
    return kept


def is_blind(path: Path) -> bool:
    """Whether a label file knows episodes by clip alone, so that it cannot be taken for another run's."""
    return "episode" not in read_table(path, "labels").headings


def check_raters(table: Table, column: str) -> None:
    """ValueError where a table of labels names no ``column`` (episode or clip), where one rater labels it twice, or
    where two raters' names differ in capitals alone."""
    seen: set[tuple[str, str]] = set()
    spelled: dict[str, str] = {}
    for index, row in enumerate(table.rows):
        rater = row.get("rater", "")
        if not row[column]:
            raise ValueError(f"{table.where(index, column)} is empty; expected the id of an {column}")
        known = spelled.setdefault(rater.casefold(), rater)
        if known != rater:
            raise ValueError(
                f"{table.where(index, 'rater')} is {rater[:60]!r}, and a row above says {known[:60]!r}; write the name "
                "of a rater in one way, or give two raters different names"
            )
        if (row[column], rater) in seen:
            raise ValueError(
                f"{table.path}, row {table.numbers[index]}: {column} {row[column]!r} is there twice; keep one row"
            )
        seen.add((row[column], rater))


def _key_places(path: Path, folders: Sequence[Path]) -> list[Path]:
    """Where the key of a label file may be: in the folders that were labelled, and beside the file, unless that is
    another run, whose episodes have the same names."""
    beside = path.parent
    apart = (
        folders and (beside / RUN_FILE).is_file() and beside.resolve() not in {f.resolve() for f in folders}
    )
    return [*folders, *([] if apart else [beside])]


def _keys(folders: Sequence[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders:
        for clip, episode in read_key(folder).items():
            if found.setdefault(clip, episode) != episode:
                raise ValueError(
                    f"{folder / KEY_FILE} says that clip {clip!r} is {episode!r}, another key says {found[clip]!r}; "
                    "restore the key"
                )
    return found


def write_labels(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Replace a label CSV atomically; the columns are those of the first row."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["episode", "label"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
