"""What ``features.json`` says of a dataset: which numbers, texts and images an episode and its steps have."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from real2sim.files import read_json

FEATURES_FILE = "features.json"
STEPS = "steps"
NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
           "float16", "float32", "float64", "bfloat16")  # fmt: skip


@dataclass(frozen=True)
class Feature:
    """One feature of an episode (``aspects/success``) or of each of its steps (``steps/observation/image``)."""

    path: str
    kind: Literal["number", "text", "image", "other"]
    """`other` is what is not read here, and `dtype` then says in words what it is."""
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
    """The features of a dataset by path.

    Raises FileNotFoundError without ``features.json``, ValueError if it has no steps.
    """
    path = folder / FEATURES_FILE
    if not os.path.lexists(path):
        raise FileNotFoundError(
            f"{folder} has no {FEATURES_FILE}; expected the folder of one version of an RLDS dataset, "
            "e.g. fractal20220817_data/0.1.0"
        )
    found: dict[str, Feature] = {}
    tree = read_json(path)
    try:
        _walk(tree, "", found)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path} is not the feature tree of a dataset ({what}); download it again"
        ) from error
    if not any(name.startswith(f"{STEPS}/") for name in found):
        raise ValueError(
            f"{path} lists no feature under {STEPS}/; expected an RLDS dataset of episodes and steps"
        )
    return found


def _walk(node: Any, path: str, found: dict[str, Feature]) -> None:
    if not isinstance(node, Mapping):
        raise ValueError(f"{path or 'the file'} holds {json.dumps(node)[:40]}, expected an object")
    if "featuresDict" in node:
        for name, inner in _part(_part(node, "featuresDict", path), "features", path).items():
            _walk(inner, f"{path}/{name}" if path else name, found)
    elif "sequence" in node:
        if path.startswith(f"{STEPS}/"):
            # They are stored in another way.
            found[path] = Feature(path, "other", "a list of varying length", ())
        else:
            _walk(_part(node, "sequence", path).get("feature"), path, found)
    elif "text" in node:
        found[path] = Feature(path, "text", "string", ())
    elif "image" in node:
        image = _part(node, "image", path)
        dtype, shape = str(image.get("dtype") or "uint8"), _shape(image, path)
        if dtype == "uint8":
            found[path] = Feature(path, "image", dtype, shape)
        else:
            found[path] = Feature(path, "other", f"images of {dtype}", shape)
    elif "tensor" in node:
        found[path] = _tensor(_part(node, "tensor", path), path)
    elif "classLabel" in node:
        found[path] = Feature(path, "number", "int64", ())
    else:
        kinds = [name for name in node if name not in ("pythonClassName", "description")]
        found[path] = Feature(path, "other", f"of the kind {kinds[0]}" if kinds else "of no kind", ())


def _part(node: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    inner = node.get(name)
    if not isinstance(inner, Mapping):
        raise ValueError(f"{name} of {path or 'the file'} is {json.dumps(inner)[:40]}, expected an object")
    return inner


def _tensor(tensor: Mapping[str, Any], path: str) -> Feature:
    if not isinstance(tensor.get("dtype"), str):
        raise ValueError(f"dtype of {path} is {json.dumps(tensor.get('dtype'))[:40]}, expected text")
    dtype, shape = tensor["dtype"], _shape(tensor, path)
    encoding = tensor.get("encoding") or "none"
    if encoding != "none":
        return Feature(path, "other", f"numbers encoded as {encoding}", shape)
    if dtype in ("string", "object"):
        return Feature(path, "text", dtype, shape)
    if dtype not in NUMBERS:
        return Feature(path, "other", f"of the type {dtype}", shape)
    if not all(shape):
        return Feature(path, "other", f"numbers of the shape {list(shape)}", shape)
    return Feature(path, "number", dtype, shape)


def _shape(node: Mapping[str, Any], path: str) -> tuple[int | None, ...]:
    dimensions = _part({"shape": {}, **node}, "shape", path).get("dimensions", [])
    if not isinstance(dimensions, list) or not all(
        re.fullmatch(r"-?\d{1,18}", str(size)) for size in dimensions
    ):
        raise ValueError(f"the shape of {path} is {str(dimensions)[:60]}, expected a list of whole numbers")
    return tuple(None if int(size) < 0 else int(size) for size in dimensions)
