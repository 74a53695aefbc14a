"""Applying a validity gate to a run: one row per episode, in a file beside the rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from real2sim.episodes.rows import read_validity
from real2sim.episodes.run_folder import RUN_FILE, VALIDITY, RunFolder
from real2sim.files import write_text
from real2sim.robot import read_robot
from real2sim.robot_match import check_same_robot
from real2sim.success.validity import ValidityGate

logger = logging.getLogger(__name__)

FIELDS = ("episode", "valid", "invalid_from", "validity_score", "gate", "gate_digest")
"""Of a row, in the order in which they are written."""
SAVED_EVERY = 200
"""Episodes between writings."""


def check_run(run_folder: Path | str, gate: ValidityGate, *, progress: bool = True) -> Path:
    """Check the episodes of a run that this gate has not checked yet; returns the file with a row per episode.

    ``validity.jsonl`` says whether each episode is ``valid``, ``invalid_from`` which frame on it is not (frame 0 is the
    start; null for valid ones), and its ``validity_score`` (above 1 is invalid).  It is replaced atomically, continues
    where it was interrupted, and rows of another gate are replaced.
    """
    folder = RunFolder(run_folder)
    if not (folder.path / RUN_FILE).is_file():
        raise FileNotFoundError(f"{folder.path} is not a run folder: it has no {RUN_FILE}")
    check_robot(gate, folder.path)
    target = folder.path / VALIDITY
    drawn = {str(row["episode"]): row for row in folder.rows()}
    episodes = set(drawn)
    rows = {}
    if target.is_file():
        rows = {
            str(row["episode"]): row
            for row in read_validity(target)
            if row["gate_digest"] == gate.digest and row["episode"] in episodes
        }
    waiting = sorted(episodes - set(rows))
    digest = gate.digest
    bar = tqdm(
        waiting, total=len(episodes), initial=len(rows), desc="gate", unit="episode", disable=not progress
    )
    for number, episode in enumerate(bar, start=1):
        rows[episode] = _row(folder, episode, drawn[episode], gate, digest)
        if number % SAVED_EVERY == 0:
            _write(target, rows)
    _write(target, rows)
    invalid = sum(not row["valid"] for row in rows.values())
    logger.info("%s: %d of %d episodes are invalid", gate.name, invalid, len(rows))
    return target


def check_robot(gate: ValidityGate, folder: Path) -> None:
    """Raise a ValueError that names both sides unless a gate is for the robot of a folder."""
    robot = read_robot(folder)
    if robot is None or gate.robot is None:
        return
    check_same_robot(gate.robot, f"gate {gate.name!r}", robot, str(folder))


def _row(
    folder: RunFolder, episode: str, drawn: Mapping[str, Any], gate: ValidityGate, digest: str
) -> dict[str, Any]:
    frames, actions = folder.episode(episode, drawn)
    try:
        found = gate.check(frames, actions)
    except ValueError as error:
        raise ValueError(f"{folder.episode_path(episode)}: {error}") from error
    return {
        "episode": episode,
        "valid": found.valid,
        "invalid_from": found.invalid_from,
        "validity_score": round(found.score, 6),
        "gate": gate.name,
        "gate_digest": digest,
    }


def _write(target: Path, rows: dict[str, dict[str, Any]]) -> None:
    lines = [{name: rows[episode][name] for name in FIELDS} for episode in sorted(rows)]
    write_text(target, "".join(json.dumps(row) + "\n" for row in lines))
