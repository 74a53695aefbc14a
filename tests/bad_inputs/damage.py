"""Ways to damage files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.checksums import write_checksums


def episode_arrays(rng: np.random.Generator, steps: int = 6) -> dict[str, np.ndarray]:
    return {
        "image": rng.integers(0, 256, (steps, 64, 64, 3), dtype=np.uint8),
        "action": np.zeros((steps, 13), np.float32),
        "instruction": np.array("close drawer"),
        "task": np.array("close_drawer"),
        "joint": np.linspace(-0.1, 0, steps).astype(np.float32),
        "success": np.array(True),
    }


def edit_json(path: Path, place: str, value: Any) -> None:
    """Set ``a.b.0`` of a JSON file; ``...`` removes it."""
    values = json.loads(path.read_text())
    *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
    inner = values
    for part in way:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    path.write_text(json.dumps(values))


def edit_tensors(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the tensors of a safetensors file, and the sum that its folder notes."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    write_checksums(path.parent)


def lying_npz(path: Path, array: str) -> None:
    """An npz whose array claims a terabyte."""
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{array}.npy", header.ljust(127) + b"\n" + bytes(10))
