"""A run has a folder of its own: it does not begin among the files of a dataset, a suite or a model."""

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


def check_own_folder(folder: Path) -> None:
    """Raise a ValueError that says what else is in a folder; further files of other programs may lie there."""
    for files, what in OTHERS.items():
        if any(folder.glob(files)):
            raise ValueError(f"{folder} holds {what}; a run needs a folder of its own, choose another one")
