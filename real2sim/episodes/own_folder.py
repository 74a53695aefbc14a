"""A run or recording has a folder of its own: it does not begin among the files of a dataset, a suite or a model."""

from __future__ import annotations

from pathlib import Path

OTHERS = {
    "suite.json": "a suite",
    "config.json": "a model",
    "*.npz": "a dataset",
    "meta/info.json": "a LeRobot dataset",
    "features.json": "an RLDS dataset",
}
"""Files that say what else a folder is."""


def check_own_folder(folder: Path, own: str = "a run") -> None:
    """Raise a ValueError that says what else is in a folder; further files of other programs may lie there."""
    others = OTHERS if own == "a run" else {**OTHERS, "run.json": "a run"}
    for files, what in others.items():
        if any(folder.glob(files)):
            raise ValueError(f"{folder} holds {what}; {own} needs a folder of its own, choose another one")
