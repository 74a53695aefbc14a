"""An RLDS dataset on disk: its files, its splits, and its episodes as examples."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.rlds.example import Example
from real2sim.episodes.rlds.features import FEATURES_FILE, STEPS, Feature, read_features
from real2sim.episodes.rlds.records import Records
from real2sim.episodes.rlds.splits import split_range
from real2sim.files import read_json

INFO_FILE = "dataset_info.json"
SAFE = re.compile(r"[\w.-]*\w[\w.-]*(/[\w.-]*\w[\w.-]*)*")
"""What names of datasets, versions and splits look like; they are parts of file names."""
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
            if f"{STEPS}/{name}" in example and f"{STEPS}/{name}" in self.paths("number"):
                return len(self.numbers(example, f"{STEPS}/{name}"))
        for feature in self.features.values():
            if feature.path.startswith(f"{STEPS}/") and feature.kind in ("text", "image"):
                return len(example.blobs(feature.path))
        raise ValueError(
            f"{self.folder}: the steps have neither flags nor images to count them by"
            "; download the dataset again"
        )

    def numbers(self, example: Example, path: str) -> np.ndarray:
        """The values of a feature of numbers, (steps, width), or (width,) for one of the episode."""
        feature = self.features[path]
        values = (
            example.floats(path) if feature.dtype.startswith(("float", "bfloat")) else example.integers(path)
        )
        if not path.startswith(f"{STEPS}/"):
            return values
        if len(values) % feature.width:
            raise ValueError(
                f"{example.where}: {path} has {len(values)} numbers, which are no whole steps of {feature.width} as "
                f"{FEATURES_FILE} says; leave the episode out or download the dataset again"
            )
        return values.reshape(-1, feature.width)

    def number_of_episode(self, example: Example, path: str) -> bool:
        """A yes or no of the whole episode, such as its success; anything but one 0 or 1 is refused."""
        values = self.numbers(example, path)
        if len(values) != 1 or values[0] not in (0, 1):
            raise ValueError(
                f"{example.where}: {path} is {np.array2string(values, threshold=6)}, expected one number, 0 or 1; "
                "leave the episode out or mend the dataset"
            )
        return bool(values[0])

    def texts(self, example: Example, path: str) -> list[str]:
        """The values of a text, one per step, or one of the episode; texts stored as numbers are read as well."""
        where = f"{example.where}: {path}"
        if self.features[path].kind == "text":
            return [_text(value, where) for value in example.texts(path)]
        return [_text(bytes(row[row > 0].astype(np.uint8)), where) for row in self.numbers(example, path)]

    def paths(self, kind: str, under: str = f"{STEPS}/") -> dict[str, Feature]:
        """The features of one kind below a path."""
        return {
            path: item for path, item in self.features.items() if item.kind == kind and path.startswith(under)
        }


def _text(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        shown = value.decode("utf-8", errors="replace")[:60]
        raise ValueError(
            f"{where} is not UTF-8 text ({shown!r}); leave the episode out or mend the dataset"
        ) from error


def _info(folder: Path) -> dict[str, Any]:
    path = folder / INFO_FILE
    info = read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("splits"), list) or not info.get("name"):
        raise ValueError(
            f"{path} names no dataset with splits; expected what TensorFlow Datasets writes, download it again"
        )
    for field in ("name", "version"):
        if not isinstance(info.get(field, ""), str) or not SAFE.fullmatch(info.get(field) or "x"):
            raise ValueError(
                f"{path}: {field} is {info[field]!r}, expected letters, digits and any of . _ - as TensorFlow "
                "Datasets writes it; download the file again"
            )
    names = [item.get("name") if isinstance(item, dict) else None for item in info["splits"]]
    if not names or not all(isinstance(name, str) and SAFE.fullmatch(name) for name in names):
        raise ValueError(
            f"{path} lists splits without names; expected what TensorFlow Datasets writes, download it again"
        )
    if len(set(names)) < len(names):
        raise ValueError(
            f"{path} lists two splits of one name ({', '.join(map(str, names))}); download the file again"
        )
    kind = info.get("fileFormat") or "tfrecord"
    if kind != "tfrecord":
        raise ValueError(
            f"{path}: the dataset is stored as {kind}; only tfrecord can be read, write it anew as that"
        )
    return info


def _shards(folder: Path, item: Mapping[str, Any]) -> list[int]:
    counts = item.get("shardLengths", [])
    if not isinstance(counts, list) or not all(_is_count(count) for count in counts):
        raise ValueError(
            f"{folder / INFO_FILE}: shardLengths of {item['name']} is {json.dumps(counts)[:80]}, expected a list of "
            "the episodes in each file; download the file again"
        )
    return [int(count) for count in counts]


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number from 0, which protocol buffers write as text in JSON."""
    return not isinstance(value, bool) and re.fullmatch(r"\d{1,15}", str(value)) is not None


def _files(folder: Path, info: Mapping[str, Any], item: Mapping[str, Any], count: int) -> list[Path]:
    template = item.get("filepathTemplate") or TEMPLATE
    if not isinstance(template, str) or template.startswith("/") or ".." in Path(template).parts:
        raise ValueError(
            f"{folder / INFO_FILE}: filepathTemplate of {item['name']} is {template!r}, expected the name of files in "
            f"the folder, such as {TEMPLATE}; download the file again"
        )
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
            found = "is no file" if os.path.lexists(path) else "does not exist"
            raise FileNotFoundError(
                f"{path} {found}, and {INFO_FILE} says that split {item['name']} has {count} files; "
                "download it again"
            )
        files.append(path)
    return files
