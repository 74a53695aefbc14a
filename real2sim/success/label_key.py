"""Blind labelling: raters know episodes by random clip ids, and a file of the run says which clip is which episode."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from real2sim.episodes.folder_lock import file_lock
from real2sim.files import write_text
from real2sim.spreadsheets import read_table

KEY_FILE = "label_key.csv"
"""Columns ``clip`` and ``episode``, in a run, a dataset folder or beside a label file."""


def read_key(folder: Path) -> dict[str, str]:
    """Clip -> episode; empty where nothing in ``folder`` has been labelled blindly."""
    path = folder / KEY_FILE
    if not os.path.lexists(path):
        return {}
    table = read_table(path, "the key of blind labels", ("clip", "episode"))
    key: dict[str, str] = {}
    known: dict[str, set[str]] = {"clip": set(), "episode": set()}
    for index, row in enumerate(table.rows):
        for column in ("clip", "episode"):
            if not row[column]:
                raise ValueError(f"{table.where(index, column)} is empty; the key was edited, restore it")
            if row[column] in known[column]:
                raise ValueError(
                    f"{table.where(index, column)} {row[column]!r} is there twice; restore the key"
                )
            known[column].add(row[column])
        key[row["clip"]] = row["episode"]
    return key


def make_key(folder: Path, episodes: Iterable[str]) -> dict[str, str]:
    """Clip -> episode for all these episodes; those without a clip get one, and the file is written.

    Clips that are there keep their id, so that a run may grow while it is labelled.
    """
    path = folder / KEY_FILE
    with file_lock(path):
        key = read_key(folder)
        missing = set(episodes) - set(key.values())
        if missing:
            for episode in sorted(missing):
                # Begins with a letter: a spreadsheet would make a number of 012345678901 or 1e4567890123.
                while (clip := f"c{secrets.token_hex(6)[1:]}") in key:
                    pass
                key[clip] = episode
            write_key(folder, key)
    return key


def write_key(folder: Path, key: dict[str, str]) -> None:
    """Replace the key of a folder; rows are sorted by clip, so that their order tells nothing."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("clip", "episode"))
    writer.writerows(sorted(key.items()))
    write_text(folder / KEY_FILE, text.getvalue())
