"""What every judge can do, and which judge a path on disk stands for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Judge(Protocol):
    """Decides which episodes succeeded."""

    name: str
    """Written beside every score."""

    @property
    def digest(self) -> str:
        """Changes whenever the judge might decide otherwise; scores of an older one are made again."""
        ...

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        """Probability of success (b,) of the named episodes, given as uint8 frames (t h w 3) of any lengths.

        NaN where the judge has no verdict.
        """
        ...


def open_judge(path: Path | str) -> Judge:
    """The judge at a path: a model folder holds a trained classifier, a ``.csv`` a person's labels."""
    path = Path(path)
    if path.suffix == ".csv":
        from real2sim.success.labels import HumanLabels

        return HumanLabels.from_csv(path)
    from real2sim.success.classifier import SuccessClassifier

    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no judge; expected a model folder or a .csv with labels")
    return SuccessClassifier.from_folder(path)
