"""Which training run a policy comes from; checkpoints of one run are one family."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from real2sim.evaluation.policy_source import PolicySource

TRAINING_FILE = "training.json"
CHECKPOINT = re.compile(r"(at|steps?|checkpoint|ckpt|epoch|iter(ation)?)?[-_]?\d+(\.\d+)?[kKmM]?")
"""Names of folders that hold one of several checkpoints of a training, such as at-50, step_2000 and 005000."""
BETWEEN = ("checkpoints", "ckpts")
INSIDE = ("pretrained_model", "model", "policy")
"""Folders between a training and a checkpoint, and inside a checkpoint."""


def distinct_families(sources: list[PolicySource]) -> list[PolicySource]:
    """Families named after different training folders of one name get the name of the folder above as well."""
    places: dict[str, set[Path | None]] = {}
    for source in sources:
        places.setdefault(source.family, set()).add(source.training)
    return [
        replace(source, family=f"{source.training.parent.name}/{source.family}")
        if source.training is not None and len(places[source.family]) > 1
        else source
        for source in sources
    ]


def training_folder(folder: Path) -> Path | None:
    """The folder of the training that ``folder`` is a checkpoint of; None if it does not look like one."""
    place = folder.resolve()
    if place.name in INSIDE:
        place = place.parent
    if (place / TRAINING_FILE).is_file():
        return place
    if not CHECKPOINT.fullmatch(place.name) and not (place.parent / TRAINING_FILE).is_file():
        return None
    return place.parent.parent if place.parent.name in BETWEEN else place.parent
