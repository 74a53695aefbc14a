"""From a path on disk to a judge: one table says which kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from real2sim.checks import as_path
from real2sim.model_folder import CONFIG_FILE, read_kind
from real2sim.simulation.contracts import Judge


def _classifier(path: Path, device: str) -> Judge:
    from real2sim.success.classifier import SuccessClassifier

    return SuccessClassifier.from_folder(path, device=device)


VLM = "openai:"
"""Begin of the address of a vision-language model."""
LABELS = ".csv"
"""Ending of a file with people's labels."""
JUDGES: Mapping[str, Callable[[Path, str], Judge]] = {"success_classifier": _classifier}
"""Kind of a model folder -> what opens it on a device."""


def open_judge(
    path: Path | str, device: str = "cpu", folders: Sequence[Path] = (), others: Sequence[Path] = ()
) -> Judge:
    """The judge at a path: a model folder with a trained classifier, or a ``.csv`` with people's labels.

    A text ``openai:URL#model=NAME`` is a vision-language model behind a server (`real2sim.success.vlm_judge`).
    ``folders`` are the runs that it is opened for; they hold the keys of blind labels; clips of ``others`` are left
    out.
    """
    as_path("a judge", path)
    if isinstance(path, str) and path.startswith(VLM):
        from real2sim.success.vlm_judge import VLMJudge

        return VLMJudge.from_address(path)
    path = Path(path)
    if path.suffix == LABELS:
        from real2sim.success.labels import HumanLabels

        return HumanLabels.from_csv(path, folders=folders, others=others)
    return JUDGES[_judge_kind(path)](path, device)


def check_answers(judge: Judge, frames: Mapping[str, np.ndarray]) -> None:
    """Ask a trained judge about a frame (h w 3) of each instruction, so that a damaged judge, or one of other tasks or
    another camera, raises its ValueError before episodes are drawn.  No server and no table of labels is asked."""
    from real2sim.success.classifier import SuccessClassifier

    if isinstance(judge, SuccessClassifier):
        judge.judge(list(frames), [frame[None] for frame in frames.values()], list(frames))


def _judge_kind(path: Path) -> str:
    if not (path / CONFIG_FILE).exists():
        raise FileNotFoundError(
            f"{path} is no judge; expected a model folder, a {LABELS} file with labels or {VLM}URL#model=NAME"
        )
    kind = read_kind(path)
    if kind not in JUDGES:
        kinds = ", ".join(map(repr, JUDGES))
        raise ValueError(f"{path / CONFIG_FILE} holds a model of kind {kind!r}; expected a judge ({kinds})")
    return kind
