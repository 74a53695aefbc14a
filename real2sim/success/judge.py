"""From a path on disk to a judge: one table says which kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from real2sim.model_folder import CONFIG_FILE, read_kind
from real2sim.simulation.contracts import Judge


def _classifier(path: Path, device: str) -> Judge:
    from real2sim.success.classifier import SuccessClassifier

    return SuccessClassifier.from_folder(path, device=device)


LABELS = ".csv"
"""Ending of a file with people's labels."""
JUDGES: Mapping[str, Callable[[Path, str], Judge]] = {"success_classifier": _classifier}
"""Kind of a model folder -> what opens it on a device."""


def open_judge(path: Path | str, device: str = "cpu", folders: Sequence[Path] = ()) -> Judge:
    """The judge at a path: a model folder with a trained classifier, or a ``.csv`` with people's labels.

    ``folders`` are the runs that it is opened for; they hold the keys of blind labels.
    """
    path = Path(path)
    if path.suffix == LABELS:
        from real2sim.success.labels import HumanLabels

        return HumanLabels.from_csv(path, folders=folders)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no judge; expected a model folder or a {LABELS} file with labels")
    kind = read_kind(path)
    if kind not in JUDGES:
        kinds = ", ".join(map(repr, JUDGES))
        raise ValueError(f"{path / CONFIG_FILE} holds a model of kind {kind!r}; expected a judge ({kinds})")
    return JUDGES[kind](path, device)
