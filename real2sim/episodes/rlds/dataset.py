"""An RLDS dataset on disk: its files, its splits, and its episodes as examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.rlds.example import Example
from real2sim.episodes.rlds.features import STEPS, Feature, read_features
from real2sim.episodes.rlds.records import Records
from real2sim.episodes.rlds.splits import split_range
from real2sim.files import read_json

INFO_FILE = "dataset_info.json"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


class RLDSDataset:
    """The episodes of a split, in the order of the dataset's files; each is read when it is asked for.

    Raises FileNotFoundError if the folder or a file is missing, ValueError for an unknown split, a file format other
    than TFRecord, or files that do not hold as many episodes as ``dataset_info.json`` says.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        self.folder = folder
        self.features = read_features(folder)
        info = _info(folder)
        self.name = f"{info['name']}/{info.get('version') or folder.name}"
        counts = {str(item["name"]): _shards(folder, item) for item in info["splits"]}
        self.split, self._range = split_range(
            split, {name: sum(shards) for name, shards in counts.items()}, str(folder)
        )
        (item,) = (item for item in info["splits"] if item["name"] == self.split)
        files = _files(folder, info, item, len(counts[self.split]))
        self._records = Records(files)
        for path, found, expected in zip(files, self._records.lengths(), counts[self.split], strict=True):
            if found != expected:
                raise ValueError(
                    f"{path} holds {found} episodes, {INFO_FILE} says {expected}; download the file again"
                )

    def __len__(self) -> int:
        return len(self._range)

    def example(self, number: int, verify: bool = False) -> Example:
        """An episode of the split; with ``verify`` all of it is read and compared with its checksum."""
        record = self._range[number]
        return Example(self._records.read(record, verify), self.where(number))

    def where(self, number: int) -> str:
        """The place of an episode, for errors."""
        return f"{self.folder}, {self.split}[{self._range[number]}]"

    def source(self, number: int) -> str:
        """Dataset and number of an episode, whatever part of the split is read."""
        return f"{self.name}/{self.split}/{self._range[number]}"

    def steps(self, example: Example) -> int:
        """How many steps an episode has."""
        for name in ("is_first", "is_last", "is_terminal", "reward"):
            if f"{STEPS}/{name}" in example and f"{STEPS}/{name}" in self.features:
                return len(self.numbers(example, f"{STEPS}/{name}"))
        for feature in self.features.values():
            if feature.path.startswith(f"{STEPS}/") and feature.kind in ("text", "image"):
                return len(example.blobs(feature.path))
        raise ValueError(f"{self.folder}: the steps have neither flags nor images to count them by")

    def numbers(self, example: Example, path: str) -> np.ndarray:
        """The values of a feature of numbers, (steps, width), or (width,) for one of the episode."""
        feature = self.features[path]
        values = (
            example.floats(path) if feature.dtype.startswith(("float", "bfloat")) else example.integers(path)
        )
        return values.reshape(-1, feature.width) if path.startswith(f"{STEPS}/") else values

    def texts(self, example: Example, path: str) -> list[str]:
        """The values of a text, one per step, or one of the episode; texts stored as numbers are read as well."""
        if self.features[path].kind == "text":
            return [_text(value) for value in example.texts(path)]
        return [_text(bytes(row[row > 0].astype(np.uint8))) for row in self.numbers(example, path)]

    def paths(self, kind: str, under: str = f"{STEPS}/") -> dict[str, Feature]:
        """The features of one kind below a path."""
        return {
            path: item for path, item in self.features.items() if item.kind == kind and path.startswith(under)
        }


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace").strip()


def _info(folder: Path) -> dict[str, Any]:
    path = folder / INFO_FILE
    info = read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("splits"), list) or not info.get("name"):
        raise ValueError(f"{path} names no dataset with splits; expected what TensorFlow Datasets writes")
    if not all(isinstance(item, dict) and "name" in item for item in info["splits"]) or not info["splits"]:
        raise ValueError(f"{path} lists splits without names; expected what TensorFlow Datasets writes")
    kind = info.get("fileFormat") or "tfrecord"
    if kind != "tfrecord":
        raise ValueError(
            f"{path}: the dataset is stored as {kind}; only tfrecord can be read, write it anew as that"
        )
    return info


def _shards(folder: Path, item: Mapping[str, Any]) -> list[int]:
    try:
        return [int(count) for count in item.get("shardLengths", [])]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / INFO_FILE}: shardLengths of {item['name']} are no numbers ({error})"
        ) from error


def _files(folder: Path, info: Mapping[str, Any], item: Mapping[str, Any], count: int) -> list[Path]:
    template = str(item.get("filepathTemplate") or TEMPLATE)
    files = []
    for shard in range(count):
        place = f"{shard:05d}-of-{count:05d}"
        name = template
        values = {
            "DATASET": info["name"],
            "SPLIT": item["name"],
            "FILEFORMAT": "tfrecord",
            "SHARD_X_OF_Y": place,
        }
        for word, value in (values | {"SHARD_INDEX": f"{shard:05d}", "NUM_SHARDS": f"{count:05d}"}).items():
            name = name.replace(f"{{{word}}}", str(value))
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist, and {INFO_FILE} says that split {item['name']} has {count} files; "
                "download it again"
            )
        files.append(path)
    return files
