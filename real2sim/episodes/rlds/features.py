"""What ``features.json`` says of a dataset: which numbers, texts and images an episode and its steps have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from real2sim.files import read_json

FEATURES_FILE = "features.json"
STEPS = "steps"


@dataclass(frozen=True)
class Feature:
    """One feature of an episode (``aspects/success``) or of each of its steps (``steps/observation/image``)."""

    path: str
    kind: Literal["number", "text", "image"]
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def width(self) -> int:
        """Numbers per step."""
        count = 1
        for size in self.shape:
            count *= size or 1
        return count


def read_features(folder: Path) -> dict[str, Feature]:
    """The features of a dataset by path; those of kinds that are not read here are left out.

    Raises FileNotFoundError without ``features.json``, ValueError if it has no steps.
    """
    path = folder / FEATURES_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {FEATURES_FILE}; expected the folder of one version of an RLDS dataset, "
            "e.g. fractal20220817_data/0.1.0"
        )
    found: dict[str, Feature] = {}
    try:
        _walk(read_json(path), "", found)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} is not the feature tree of a dataset ({type(error).__name__}: {error}); download it again"
        ) from error
    if not any(name.startswith(f"{STEPS}/") for name in found):
        raise ValueError(
            f"{path} lists no feature under {STEPS}/; expected an RLDS dataset of episodes and steps"
        )
    return found


def _walk(node: Mapping[str, Any], path: str, found: dict[str, Feature]) -> None:
    if "featuresDict" in node:
        for name, inner in node["featuresDict"]["features"].items():
            _walk(inner, f"{path}/{name}" if path else name, found)
    elif "sequence" in node:
        # Sequences inside a step (lists of varying length) are stored in another way and not read.
        if not path.startswith(f"{STEPS}/"):
            _walk(node["sequence"]["feature"], path, found)
    elif "text" in node:
        found[path] = Feature(path, "text", "string", ())
    elif "image" in node:
        image = node["image"]
        found[path] = Feature(path, "image", str(image.get("dtype") or "uint8"), _shape(image))
    elif "tensor" in node and node["tensor"].get("encoding", "none") in ("none", ""):
        tensor = node["tensor"]
        dtype = str(tensor["dtype"])
        kind: Literal["number", "text"] = "text" if dtype in ("string", "object") else "number"
        found[path] = Feature(path, kind, dtype, _shape(tensor))
    elif "classLabel" in node:
        found[path] = Feature(path, "number", "int64", ())


def _shape(node: Mapping[str, Any]) -> tuple[int | None, ...]:
    sizes = [int(size) for size in node.get("shape", {}).get("dimensions", [])]
    return tuple(None if size < 0 else size for size in sizes)
