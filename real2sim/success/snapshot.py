"""Everything a training needs to go on, in one safetensors file that is replaced at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def write_snapshot(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    facts: dict[str, Any],
) -> None:
    """Store weights, averaged weights, the optimiser's moments and a few facts (JSON values)."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    own = {name: value.contiguous().clone() for name, value in tensors.items()}
    save_file(own, temporary, {"facts": json.dumps(facts)})
    os.replace(temporary, path)


def read_snapshot(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Restore network and optimiser in place; gives the facts and the averaged weights.

    Raises ValueError where the file is damaged or belongs to a training with another ``identity``.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a readable snapshot ({error}); delete it to start over") from error
    if facts["identity"] != identity:
        raise ValueError(
            f"{path} belongs to a training with other settings; "
            "choose another output folder, or delete it to start over"
        )
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, rest = name.split(".", 1)
        parts[part][rest] = value
    network.load_state_dict(parts["network"])
    state = optimizer.state_dict()
    for name, value in parts["optimizer"].items():
        number, moment = name.split(".", 1)
        state["state"].setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict(state)
    return facts, parts["average"]
