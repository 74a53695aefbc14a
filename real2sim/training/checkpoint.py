"""What a training leaves on disk: a checkpoint from which it continues, its settings, and its log."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from real2sim.checks import check_whole
from real2sim.episodes.learned_files import difference, file_sums
from real2sim.failures import LONGEST_PLACE
from real2sim.files import append_text, atomic_write, read_json, read_text, reading, write_json, write_text
from real2sim.model_folder import config_from_dict, config_to_dict, load_tensors
from real2sim.training.checkpoint_checks import check_state, check_sums, load_optimiser

logger = logging.getLogger(__name__)

CHECKPOINT_FILE, SETTINGS_FILE, LOG_FILE = "checkpoint.pt", "training.json", "log.jsonl"
DATA_FILE = "data.json"
"""Fingerprints of the files that the training learns from."""


class Resumable(Protocol):
    """The part of a training task that is stored; see `real2sim.training.loop.TrainingTask`."""

    @property
    def trained(self) -> nn.Module: ...

    @property
    def extra_modules(self) -> Mapping[str, nn.Module]: ...

    @property
    def fixed_settings(self) -> tuple[str, ...]: ...

    def settings(self) -> Mapping[str, Any]: ...

    def learned_files(self) -> Sequence[Path]: ...


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0
    """Optimiser steps done."""
    seconds: float = 0.0
    """Time they took."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """Averaged weights; empty where none are kept."""
    unlogged: dict[str, list[float]] = field(default_factory=dict)
    """Values of the steps since the last line of the log."""


def write_checkpoint(task: Resumable, optimiser: Any, progress: Progress, out: Path) -> None:
    """Replace the checkpoint at once."""
    state = {
        **{item.name: getattr(progress, item.name) for item in dataclasses.fields(progress)},
        "trained": task.trained.state_dict(),
        "optimiser": optimiser.state_dict(),
        "extra": {name: module.state_dict() for name, module in task.extra_modules.items()},
    }
    path = out / CHECKPOINT_FILE
    try:
        with atomic_write(path) as file:
            torch.save(state, file)
    except RuntimeError as error:
        # torch reports a full disk as an error of its archive.
        raise OSError(
            f"{path} cannot be written; the checkpoint before it is kept: make room on the disk and run the same "
            "command again"
        ) from error


def read_checkpoint(out: Path) -> dict[str, Any]:
    """The last checkpoint: the fields of `Progress`, ``trained``, ``optimiser`` and ``extra``.

    Raises ValueError if the file cannot be read as one.
    """
    path = out / CHECKPOINT_FILE
    with reading(path, "the checkpoint of a training"):
        path.open("rb").close()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # Damaged pickles raise whatever their values lead to.
        raise ValueError(
            f"{path} cannot be read as the checkpoint of a training ({type(error).__name__}); it may be cut off: "
            "delete it to start over"
        ) from error
    check_sums(path)
    return check_state(state, path)


def restore(task: Resumable, optimiser: torch.optim.Optimizer, out: Path, average: bool) -> Progress:
    """Load the last checkpoint of ``out`` into task and optimiser, if there is one.

    Raises ValueError if the folder holds a training with other settings, or if its data has changed since; where other
    data may be given, that is only said.
    """
    progress = Progress()
    if os.path.lexists(out / CHECKPOINT_FILE):
        _check_settings(task, out)
        check_data(task, out)
        state = read_checkpoint(out)
        where = str(out / CHECKPOINT_FILE)
        for name, module in task.extra_modules.items():
            load_tensors(module, state["extra"].get(name, {}), f"{where} (extra.{name})")
        if state["average"] and average:
            # Checked as the weights are, whose names and shapes they have.
            load_tensors(task.trained, state["average"], f"{where} (average)")
        load_tensors(task.trained, state["trained"], f"{where} (trained)")
        load_optimiser(optimiser, state["optimiser"], out / CHECKPOINT_FILE)
        progress = Progress(**{item.name: state[item.name] for item in dataclasses.fields(Progress)})
    if not average:
        progress.average = {}
    elif not progress.average:
        progress.average = {name: value.detach().clone() for name, value in task.trained.state_dict().items()}
    return progress


def write_settings(task: Resumable, out: Path) -> None:
    """Write ``training.json``, and what the data is now."""
    write_json(out / SETTINGS_FILE, config_to_dict(task.settings()))
    write_json(out / DATA_FILE, {"files": file_sums(task.learned_files())})


def read_settings(out: Path) -> dict[str, Any]:
    """What ``training.json`` says."""
    values = read_json(out / SETTINGS_FILE)
    if not isinstance(values, dict):
        raise ValueError(
            f"{out / SETTINGS_FILE} holds a {type(values).__name__}, expected an object; is this a training folder?"
        )
    return values


def append_row(out: Path, row: Mapping[str, float]) -> None:
    """Add one line to the log."""
    append_text(out / LOG_FILE, json.dumps(row) + "\n")


def cut_log(out: Path, step: int) -> None:
    """Remove the lines that a killed training wrote after its last checkpoint, and a line that was cut off."""
    path = out / LOG_FILE
    if not path.exists():
        return
    kept = []
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        if number == len(lines) and not line.endswith("}"):
            continue
        try:
            if check_whole("step", json.loads(line)["step"]) <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number} is no line of a training's log (a JSON object with a step); was it edited?"
            ) from error
    write_text(path, "".join(f"{line}\n" for line in kept))


def check_data(task: Resumable, out: Path) -> None:
    """Trainings of versions that wrote no fingerprints go on with the data that is there."""
    path = out / DATA_FILE
    if not path.is_file():
        return
    said = read_json(path)
    then = said.get("files") if isinstance(said, dict) else None
    if not isinstance(then, dict) or not all(isinstance(value, str) for value in then.values()):
        raise ValueError(
            f"{path} has no object 'files' of fingerprints; was it edited? delete it to go on without"
        )
    files = task.learned_files()
    changed = difference(file_sums(files), then, files)
    if changed is None:
        return
    if "data" in task.fixed_settings:
        raise ValueError(
            f"the data of the training in {out} has changed since it was begun: {changed}; put it back as it was, or "
            "choose another folder for a new training"
        )
    logger.warning(
        "the data has changed since the training in %s was begun (%s); it goes on with it", out, changed
    )


def _check_settings(task: Resumable, out: Path) -> None:
    found, wanted = read_settings(out), task.settings()
    # What else is fixed may follow from the data, which is named first therefore.
    for name in sorted(task.fixed_settings, key=lambda name: name != "data"):
        expected, value = wanted[name], found.get(name)
        if dataclasses.is_dataclass(expected) and not isinstance(expected, type) and value is not None:
            # Fields that came later have their defaults.
            value = config_to_dict(config_from_dict(type(expected), value, f"{out / SETTINGS_FILE}: {name}"))
        differing = _first_difference(name, value, config_to_dict(expected))
        if differing is not None:
            place, then, now = differing
            raise ValueError(
                f"the training in {out} was begun with another {name}: {'it' if place == name else place} was {then}, "
                f"now it is {now}; give the same {name} as then, or choose another folder"
            )


def _first_difference(place: str, then: Any, now: Any) -> tuple[str, str, str] | None:
    """Where two settings differ first, and what stands there in each; None if they are the same."""
    if then == now:
        return None
    pairs: Any = []
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        pairs = [(name, then.get(name), now.get(name)) for name in dict.fromkeys([*then, *now])]
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(then, now, strict=True))]
    found = (_first_difference(f"{place}.{name}", one, other) for name, one, other in pairs)
    return next(filter(None, found), (place, _shown(then), _shown(now)))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST_PLACE else f"{text[: LONGEST_PLACE - 3]}..."
