"""What an episode of a run can be shown beside: reality from the same start, other policies, the same one elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.episodes.run_folder import RunFolder
from real2sim.pages.episode_files import inside
from real2sim.pages.run_index import RunIndex
from real2sim.simulation.suite import load_suite
from real2sim.spreadsheets import read_table
from real2sim.wording import OUTCOMES, whole_number
from real2sim.worlds import PHYSICS_WORLD

logger = logging.getLogger(__name__)

MOST = 100
"""Episodes of one run that are offered beside another."""
OUTCOMES_FILE = "real_episodes.csv"


def companions(runs: Sequence[RunIndex], place: int, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Other episodes of the same task from the same start, with the number of their ``run`` and how they ``relate``.

    Those of a physics world come first, then the same policy in the other run, then other policies.
    """
    found = []
    for number, run in enumerate(runs):
        for other in run.companions(str(row["task"]), str(row["start"]), MOST):
            if (number, other["episode"]) == (place, row["episode"]):
                continue
            same = other["policy"] == row["policy"]
            physics = other["world"] == PHYSICS_WORLD != row["world"]
            relation = "real" if same and physics else "other run" if same else "other policy"
            found.append({**other, "run": number, "relation": relation})
    order = ("real", "other run", "other policy")
    return sorted(found, key=lambda other: (order.index(other["relation"]), other["run"] != place))


def recorded_episode(dataset: Path, start: str, first: np.ndarray) -> Path | None:
    """The file of a dataset folder whose recording begins with the frame ``first`` (h w 3) of a start; None for none.

    `real2sim suite make` calls starts after the number of the episode; a file of the start's name is looked at, too.
    """
    files = dataset_files(dataset)
    candidates = [path for path in files if path.stem == start]
    place = whole_number(start) if start.isascii() else None
    if place is not None and place < len(files):
        candidates.append(files[place])
    for path in candidates:
        image = read_npz(inside(dataset, path), ["image"])["image"]
        if image.shape[1:] == first.shape and np.array_equal(image[0], first):
            return path
    return None


def real_outcomes(run: Path) -> dict[tuple[str, str, str], list[bool]]:
    """(policy, task, start) -> outcomes of real episodes that the run's suite knows; empty, which is said, where they
    cannot be read, as when the suite is not here."""
    try:
        path = load_suite(RunFolder(run).suite()).folder / OUTCOMES_FILE
        if not path.is_file():
            return {}
        table = read_table(path, "real episodes", ("policy", "task", "start", "success"))
    except (ValueError, OSError) as error:
        logger.warning("real outcomes are not shown: %s", error)
        return {}
    found: dict[tuple[str, str, str], list[bool]] = {}
    for row in table.rows:
        outcome = row["success"].lower()
        if outcome in OUTCOMES:
            found.setdefault((row["policy"], row["task"], row["start"]), []).append(OUTCOMES[outcome])
    return found
