"""Scoring a run: one verdict per episode, in a file beside the rows."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from real2sim.episodes.npz import check_one_size
from real2sim.episodes.rows import read_scores
from real2sim.episodes.run_folder import RUN_FILE, RunFolder, file_name
from real2sim.files import write_text
from real2sim.simulation.judged import check_judge_object, probabilities
from real2sim.success.judge import Judge

logger = logging.getLogger(__name__)

FIELDS = ("episode", "judge", "success", "probability", "judge_digest")
"""Of a score, in the order in which they are written."""


def score(run_folder: Path | str, judge: Judge, *, batch: int = 64, progress: bool = True) -> Path:
    """Judge the episodes of a run that have no score by this judge yet; returns the score file.

    The file ``scores-<judge>.jsonl`` holds one row per episode: ``episode``, ``judge``, ``success``
    (probability of at least 0.5), ``probability`` and ``judge_digest``. It is replaced atomically, and scoring
    resumes where it was interrupted. Scores that another version of the judge gave are replaced. Where the judge
    has no verdict, ``success`` and ``probability`` are null.
    """
    folder = RunFolder(run_folder)
    if not (folder.path / RUN_FILE).is_file():
        raise FileNotFoundError(f"{folder.path} is not a run folder: it has no {RUN_FILE}")
    target = _scores_file(folder.path, check_judge_object(judge))
    rows = {str(row["episode"]): row for row in folder.rows()}
    digest = judge.digest
    scores = _earlier(target, judge.name, digest, set(rows))
    waiting = sorted(set(rows) - set(scores))
    bar = tqdm(
        total=len(rows),
        initial=len(scores),
        desc=f"judge {judge.name}",
        unit="episode",
        disable=not progress,
    )
    with bar:
        for chunk in (waiting[start : start + batch] for start in range(0, len(waiting), batch)):
            frames = [folder.episode(episode, rows[episode])[0] for episode in chunk]
            _check_sizes(folder, chunk, frames)
            found = probabilities(
                judge, chunk, frames, [str(rows[episode]["instruction"]) for episode in chunk]
            )
            for episode, probability in zip(chunk, found.tolist(), strict=True):
                scores[episode] = score_row(episode, judge.name, digest, probability)
            _write(target, scores)
            bar.update(len(chunk))
    if not waiting:
        _write(target, scores)
    silent = sum(row["success"] is None for row in scores.values())
    if silent:
        logger.warning("%s has no verdict on %d of %d episodes", judge.name, silent, len(rows))
    return target


def _check_sizes(folder: RunFolder, episodes: list[str], frames: list[np.ndarray]) -> None:
    sizes = {
        folder.episode_path(name): video.shape[1:3] for name, video in zip(episodes, frames, strict=True)
    }
    check_one_size(sizes, "remove the file and run the rollout again")


def scores_by(judge: Judge, run_folder: Path) -> dict[str, dict[str, Any]]:
    """The scores that this judge has given in a run so far, by episode; ``success`` is None where it has no verdict."""
    target, digest = _scores_file(run_folder, judge), judge.digest
    rows = read_scores(target) if target.is_file() else ()
    return {str(row["episode"]): row for row in rows if row.get("judge_digest") == digest}


def score_row(episode: str, judge: str, digest: str, probability: float) -> dict[str, Any]:
    """The stored row of one judged episode; a probability that is NaN is no verdict."""
    decided = not math.isnan(probability)
    return {
        "episode": episode,
        "judge": judge,
        "success": probability >= 0.5 if decided else None,
        "probability": round(probability, 6) if decided else None,
        "judge_digest": digest,
    }


def _scores_file(run_folder: Path, judge: Judge) -> Path:
    return run_folder / f"scores-{file_name(judge.name)}.jsonl"


def _earlier(target: Path, judge: str, digest: str, episodes: set[str]) -> dict[str, dict[str, Any]]:
    """Scores that still hold: of this version of the judge and of an episode that is still there."""
    if not target.is_file():
        return {}
    return {
        # A row may leave out the judge, whose file it is in.
        str(row["episode"]): {**row, "judge": judge}
        for row in read_scores(target)
        if row.get("judge_digest") == digest and row["episode"] in episodes
    }


def _write(target: Path, scores: dict[str, dict[str, Any]]) -> None:
    # Rows that were read come back in another order of fields than new ones.
    rows = [{name: scores[episode][name] for name in FIELDS} for episode in sorted(scores)]
    write_text(target, "".join(json.dumps(row) + "\n" for row in rows))
