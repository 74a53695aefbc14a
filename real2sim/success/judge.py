"""Which judge a path on disk stands for."""

from __future__ import annotations

from pathlib import Path

from real2sim.simulation.contracts import Judge


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
