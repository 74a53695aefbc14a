"""A run on disk: what was asked (``run.json``), one row per finished episode, and one npz file per episode.

Rows are appended as JSON lines, ``rows-<process>.jsonl``, one file per process; an episode's file is written
before its row, so a row always has its episode.  What a killed process leaves behind is at most one torn last
line and temporary files, both ignored.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from real2sim.episodes.arrays import array_sums, read_arrays
from real2sim.episodes.conversion import episode_file
from real2sim.episodes.failed_start import undone_where_it_fails
from real2sim.episodes.folder_lock import LOCK_FILE, try_lock
from real2sim.episodes.own_folder import check_own_folder
from real2sim.episodes.rows import (
    FORMAT,
    check_same,
    is_whole,
    merged,
    read_rows,
    read_scores,
    read_settings,
    read_validity,
    suite_of,
)
from real2sim.episodes.sound import ARRAYS, check_episode, check_unchanged
from real2sim.files import reading, write_json, writing
from real2sim.robot import ROBOT_FILE

if TYPE_CHECKING:
    import pandas as pd

RUN_FILE = "run.json"
ROWS = "rows-*.jsonl"
SCORES = "scores-*.jsonl"
VALIDITY = "validity.jsonl"
"""What a validity gate says of each episode."""
EPISODES = "episodes"
PATIENCE = 10.0
"""Seconds to wait for another writer: the workers of a killed run need a moment to notice."""
ORPHANS = 1000
"""Step between the numbers of row files that are tried when a stopped worker of a dead rollout holds one."""
COLUMNS = (
    "episode", "suite", "task", "policy", "family", "kind", "set", "start", "seed", "world",
    "instruction", "steps",
    "terminated", "truncated", "frame_passes", "seconds",
)  # fmt: skip
"""Columns of every row."""
SCORED = ("success", "probability", "judge")
"""Columns that scoring adds; a world that knows the outcome writes them into its rows."""


class RunFolder:
    """A run folder: made when it is not there, continued when it is."""

    def __init__(self, path: Path | str) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ValueError(f"a run folder is named by a path, got {path!r}")
        self.path = Path(path)

    def open(self, identity: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        """Make the folder, or make sure that what is there was asked for in the same way.

        ``identity`` is what gives a row its meaning (suite, world, seed, weights): rows made under another
        identity cannot stand in the same table, and a difference raises a ValueError that names it.  Its
        mappings may grow: new keys are added to those on disk.  ``details`` (versions, the command) are
        written once and not compared.  A folder belongs to its first episode: settings without one are replaced.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(
                f"{self.path} is a file; expected a run folder or a path that does not exist yet"
            )
        run = self.path / RUN_FILE
        if not run.is_file():
            if self.path.is_dir() and any(self.path.glob(ROWS)):
                raise ValueError(
                    f"{self.path} holds rows but no {RUN_FILE}; it cannot be continued, choose another folder"
                )
            check_own_folder(self.path)
            write_json(run, {"format": FORMAT, "identity": identity, **details})
            return
        try:
            found = self._continued(identity, details)
        except ValueError:
            # A run without episodes was a first try; the corrected command takes its place.
            if self.has_rows():
                raise
            found = {"format": FORMAT, "identity": identity, **details}
            write_json(run, found)
        else:
            if found != self.settings():
                write_json(run, found)

    def is_open(self, identity: Mapping[str, Any], details: Mapping[str, Any]) -> bool:
        """Whether ``run.json`` is there and says all this, so that nothing need be written to continue."""
        if not (self.path / RUN_FILE).is_file() or not self.has_rows():
            return False
        return self._continued(identity, details) == self.settings()

    def _continued(self, identity: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, Any]:
        run, found = self.path / RUN_FILE, self.settings()
        if "config" in details and "config" not in found:
            raise ValueError(
                f"{run} has no field config; it was edited or cut off and cannot be continued, "
                "choose another folder"
            )
        return {**found, "identity": merged(found["identity"], _plain(identity), str(run))}

    def has_rows(self) -> bool:
        """Whether an episode was finished here."""
        for path in self.path.glob(ROWS):
            with reading(path, "a file of a run"):
                if path.stat().st_size:
                    return True
        return False

    def note(self, name: str, value: Any) -> None:
        """Write one more value into ``run.json``."""
        write_json(self.path / RUN_FILE, {**self.settings(), name: value})

    def settings(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        return read_settings(self.path / RUN_FILE)

    def suite(self) -> str:
        """Name or folder of the suite that the run was made in."""
        return suite_of(self.settings(), self.path / RUN_FILE)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per finished episode, in no particular order; each episode once, as it was last drawn."""
        seen: dict[str, dict[str, Any]] = {}
        for path in sorted(self.path.glob(ROWS)):
            for row in read_rows(path):
                check_same(seen.get(row["episode"], row), row, path)
                seen[row["episode"]] = row
        return list(seen.values())

    def episode_path(self, episode: str) -> Path:
        """Where the frames and actions of an episode lie."""
        return self.path / EPISODES / f"{episode}.npz"

    def episode(self, episode: str, row: Mapping[str, Any] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Frames uint8 (t+1 h w 3) and actions float32 (t 13) of an episode; those that its ``row`` speaks of, where it
        is given."""
        path, known = self.episode_path(episode), row or {}
        arrays = read_arrays(path, ARRAYS)
        check_episode(arrays, str(path), known.get("steps"))
        check_unchanged(path, known.get("checksum"))
        return arrays["frames"], arrays["actions"]


class RowCounter:
    """Counts the rows of a run again and again, reading only what has been added since."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._rows = 0

    def count(self) -> int:
        """How many rows there are by now, of all processes."""
        for path in self._folder.path.glob(ROWS):
            # A torn last line may have been cut off; it had no end that was counted.
            position = min(self._read.get(path, 0), path.stat().st_size)
            with path.open("rb") as file:
                file.seek(position)
                added = file.read()
            self._rows += added.count(b"\n")
            self._read[path] = position + len(added)
        return self._rows


class RowWriter:
    """Appends the episodes of one process; only one writer at a time may hold a process's file."""

    def __init__(self, folder: RunFolder, process: int, owned: bool = False) -> None:
        self._folder = folder
        with writing(folder.path / EPISODES):
            (folder.path / EPISODES).mkdir(parents=True, exist_ok=True)
        self._file = _locked(folder.path, process, owned)
        try:
            _cut_torn_line(self._file)
        except BaseException:
            self._file.close()
            raise

    def write(self, row: Mapping[str, Any], frames: np.ndarray, actions: np.ndarray) -> None:
        """Write the episode's file, then its row; both are on disk when this returns."""
        path = self._folder.episode_path(str(row["episode"]))
        with episode_file(path) as file:
            file.array("frames", frames)
            file.array("actions", actions)
        self._append({**row, "bytes": path.stat().st_size, "checksum": array_sums(path, ARRAYS)})

    def _append(self, row: Mapping[str, Any]) -> None:
        line = (json.dumps(dict(row), allow_nan=False) + "\n").encode()
        with writing(Path(self._file.name)):
            self._add(line)

    def _add(self, line: bytes) -> None:
        position = self._file.seek(0, os.SEEK_END)
        try:
            # Without a buffer, so that nothing is left to be written at closing after a failure.
            while line:
                line = line[os.write(self._file.fileno(), line) :]
            os.fsync(self._file.fileno())
        except OSError:
            # On a full disk a part of the line may have arrived.
            os.ftruncate(self._file.fileno(), position)
            raise

    def close(self) -> None:
        """Let another writer continue."""
        self._file.close()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_run(path: Path | str, rows_read: list[dict[str, Any]] | None = None) -> pd.DataFrame:
    """A tidy table, one row per finished episode, with the judges' scores where there are any.

    Columns are `COLUMNS`; after scoring also ``success``, ``probability`` and ``judge`` (an episode scored by
    two judges has two rows).  A run that a validity gate has checked also has ``valid``, ``invalid_from`` and
    ``validity_score``.  Rows are sorted by policy, task and start.  ``rows_read`` are those of `RunFolder.rows`, where
    they have been read already.
    """
    import pandas as pd

    folder = RunFolder(path)
    if not (folder.path / RUN_FILE).is_file():
        raise FileNotFoundError(
            f"{folder.path} is not a run folder: it has no {RUN_FILE}; make one with `real2sim rollout`"
        )
    rows = pd.DataFrame(folder.rows() if rows_read is None else rows_read, columns=None)
    for column in COLUMNS:
        if column not in rows:
            rows[column] = pd.Series(dtype=object)
    rows = rows[[*COLUMNS, *(column for column in rows if column not in COLUMNS)]]
    # A world that knows its outcomes is a judge like others.
    known = rows.dropna(subset=["success"]) if "success" in rows else rows.iloc[:0]
    scores: dict[tuple[str, str], dict[str, Any]] = {
        (row["episode"], row["judge"]): row
        for row in known.reindex(columns=["episode", *SCORED]).to_dict("records")  # type: ignore[misc]
    }
    rows = rows.drop(columns=[column for column in SCORED if column in rows])
    # A score given again replaces the earlier one.
    for file in sorted(folder.path.glob(SCORES)):
        for row in read_scores(file):
            scores[(str(row["episode"]), str(row.get("judge", file.stem.removeprefix("scores-"))))] = row
    if scores:
        table = pd.DataFrame([{"judge": judge, **row} for (_, judge), row in scores.items()])
        rows = rows.merge(table, on="episode", how="left")
    if (folder.path / VALIDITY).is_file():
        checked = pd.DataFrame(read_validity(folder.path / VALIDITY), columns=None)
        if len(checked):
            rows = rows.merge(checked, on="episode", how="left")
    return rows.sort_values(["policy", "task", "start"], kind="stable").reset_index(drop=True)


def undone_run(folder: Path) -> AbstractContextManager[None]:
    """A rollout that fails before its first episode leaves ``folder`` as it found it."""
    # The lock comes last: nobody else writes while it is held.
    started, drawn = (RUN_FILE, ROBOT_FILE, ROWS, LOCK_FILE), (ROWS, f"{EPISODES}/*")
    return undone_where_it_fails(folder, started, drawn, EPISODES)


def file_name(text: str) -> str:
    """``text`` with everything that a file system might object to replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"


def _locked(folder: Path, process: int, owned: bool) -> IO[bytes]:
    """The rows of a process, held by nobody else; ``owned``: this rollout has the folder, so that whoever still
    holds them is a worker of a dead one, and other rows are taken if it does not end."""
    end = time.monotonic() + PATIENCE
    while True:
        path = folder / f"rows-{process}.jsonl"
        with writing(path):
            file: IO[bytes] = path.open("a+b", buffering=0)
        if try_lock(file):
            return file
        file.close()
        if time.monotonic() > end:
            if not owned:
                raise ValueError(
                    f"{path} is being written by another process; wait until that rollout ends, "
                    "or choose another folder"
                )
            process += ORPHANS
        time.sleep(0.05)


def _cut_torn_line(file: IO[bytes]) -> None:
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if is_whole(content[whole:]):
        os.write(file.fileno(), b"\n")
    elif whole < len(content):
        os.ftruncate(file.fileno(), whole)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(values))
    return result
