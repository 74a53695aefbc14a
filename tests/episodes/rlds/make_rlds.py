"""Small RLDS datasets of the forms that Open X-Embodiment's datasets have, written without TensorFlow.

A dataset is ``features.json``, ``dataset_info.json`` and TFRecord files of serialised ``tf.train.Example``.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.rlds.example import Example
from real2sim.episodes.rlds.records import Records, masked_checksum

SIZE = (24, 32)
RT1 = {
    "base_displacement_vector": 2,
    "base_displacement_vertical_rotation": 1,
    "gripper_closedness_action": 1,
    "rotation_delta": 3,
    "terminate_episode": 3,
    "world_vector": 3,
}
BRIDGE = {"open_gripper": 0, "rotation_delta": 3, "terminate_episode": 0, "world_vector": 3}
DROID = {"cartesian_position": 6, "gripper_position": 1, "joint_position": 7}
FORMS: dict[str, dict[str, int]] = {
    "rt1": {f"action/{key}": width for key, width in RT1.items()},
    "bridge": {f"action/{key}": width for key, width in BRIDGE.items()},
    "droid": {f"action_dict/{key}": width for key, width in DROID.items()} | {"action": 7},
    "flat": {"action": 7},
}
"""Features of the action and how many numbers each has; 0 for a scalar."""
TEXTS = ("close the top drawer", "pick the apple", "close the middle drawer")


def tensor(width: int, dtype: str = "float32") -> dict[str, Any]:
    """The entry of ``features.json`` for numbers; width 0 is a scalar."""
    shape = {"dimensions": [str(width)]} if width else {}
    return {"tensor": {"dtype": dtype, "encoding": "none", "shape": shape}}


def image(shape: Sequence[int], encoding: str = "jpeg") -> dict[str, Any]:
    """The entry for images; -1 is a size that varies."""
    dimensions = {"dimensions": [str(size) for size in shape]}
    return {"image": {"dtype": "uint8", "encodingFormat": encoding, "shape": dimensions}}


def group(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"featuresDict": {"features": dict(entries)}}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features: Mapping[str, Any]) -> bytes:
    """A serialised example: lists of bytes, arrays of floats or of whole numbers by name."""
    entries = b""
    for name, values in features.items():
        if isinstance(values, list):
            kind, content = 1, b"".join(field(1, value) for value in values)
        elif np.issubdtype(values.dtype, np.floating):
            kind, content = 2, field(1, values.astype("<f4").tobytes())
        else:
            kind, content = 3, field(1, b"".join(varint(int(value)) for value in values.reshape(-1)))
        entries += field(1, field(1, name.encode()) + field(2, field(kind, content)))
    return field(1, entries)


def record(data: bytes) -> bytes:
    header = struct.pack("<Q", len(data))
    return (
        header + struct.pack("<I", masked_checksum(header)) + data + struct.pack("<I", masked_checksum(data))
    )


def edit_examples(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the episodes of the first file, given as what `example` takes."""
    path = sorted(folder.glob("*.tfrecord*"))[0]
    records = Records([path])
    episodes = []
    for number in range(len(records)):
        found = Example(records.read(number), str(path))
        values: dict[str, Any] = {}
        for name in found.names:
            for read in (found.texts, found.floats, found.integers):
                with contextlib.suppress(ValueError):
                    values[name] = read(name)
        episodes.append(values)
    change(episodes)
    path.write_bytes(b"".join(record(example(values)) for values in episodes))


def encoded(picture: np.ndarray, encoding: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture.squeeze()).save(buffer, encoding)
    return buffer.getvalue()


def picture(episode: int, step: int, size: tuple[int, int] = SIZE, channels: int = 3) -> np.ndarray:
    """A frame that tells which one it is."""
    grey = np.full((*size, channels), 20 + (40 * episode + 5 * step) % 220, np.uint8)
    grey[: size[0] // 2] += 8
    return grey


def make_rlds(
    folder: Path,
    form: str = "rt1",
    lengths: Sequence[int] = (3, 4, 3),
    *,
    texts: Sequence[str] = TEXTS,
    cameras: Sequence[str] = ("image",),
    channels: int = 3,
    encoding: str = "jpeg",
    sizes: Sequence[tuple[int, int]] | None = None,
    language: str = "observation/natural_language_instruction",
    success: bool = False,
    not_finite: tuple[int, int] | None = None,
    shards: int = 1,
    embedding: bool = False,
    name: str = "made_up",
    largest: float = 1,
) -> Path:
    """Write a dataset of one form (``rt1``, ``bridge``, ``droid`` or ``flat``) and give its version folder."""
    folder = folder / "0.1.0"
    folder.mkdir(parents=True)
    widths = FORMS[form]
    height, width = SIZE if sizes is None else (-1, -1)
    observation: dict[str, Any] = {camera: image((height, width, channels), encoding) for camera in cameras}
    if form == "droid":
        observation["joint_position"] = tensor(7, "float64")
    steps: dict[str, Any] = {"is_first": tensor(0, "bool"), "is_last": tensor(0, "bool"), "reward": tensor(0)}
    for path, count in widths.items():
        if path == "action":
            steps["action"] = tensor(count, "float64" if form == "droid" else "float32")
        else:
            top, key = path.split("/")
            dtype = (
                "int32"
                if key == "terminate_episode" and form == "rt1"
                else "bool"
                if key == "open_gripper"
                else "float32"
            )
            steps.setdefault(top, group({}))["featuresDict"]["features"][key] = tensor(count, dtype)
    if embedding:
        observation["natural_language_embedding"] = tensor(512)
    if language.startswith("observation/"):
        observation[language.split("/")[1]] = {"text": {}}
    else:
        steps[language] = {"text": {}}
    steps["observation"] = group(observation)
    tree: dict[str, Any] = {"steps": {"sequence": {"feature": group(steps)}}}
    if success:
        tree["aspects"] = group({"success": tensor(0, "bool"), "has_aspects": tensor(0, "bool")})
    (folder / "features.json").write_text(json.dumps(group(tree)))
    records = []
    for number, length in enumerate(lengths):
        rng = np.random.default_rng(number)
        size = SIZE if sizes is None else sizes[number]
        values: dict[str, Any] = {
            "steps/is_first": np.arange(length) == 0,
            "steps/is_last": np.arange(length) == length - 1,
            "steps/reward": np.zeros(length, np.float32),
        }
        for camera in cameras:
            frames = [encoded(picture(number, step, size, channels), encoding) for step in range(length)]
            values[f"steps/observation/{camera}"] = frames
        for path, count in widths.items():
            numbers = rng.uniform(-largest, largest, (length, max(count, 1))).astype(np.float32)
            if path.endswith("terminate_episode"):
                ends = np.arange(length)[:, None] == length - 1
                numbers = (
                    np.concatenate([ends, ~ends, 0 * ends], axis=1).astype(np.int64)
                    if count
                    else ends.astype(np.float32)
                )
            if path.endswith("open_gripper"):
                numbers = np.ones((length, 1), np.int64)
            if not_finite == (number, 1) and numbers.dtype == np.float32:
                numbers[1, -1] = np.nan
            values[f"steps/{path}"] = numbers
        if form == "droid":
            values["steps/observation/joint_position"] = rng.uniform(-1, 1, (length, 7)).astype(np.float32)
        if embedding:
            values["steps/observation/natural_language_embedding"] = np.full(
                (length, 512), number, np.float32
            )
        values[f"steps/{language}"] = [texts[number % len(texts)].encode()] * length
        if success:
            values |= {
                "aspects/success": np.array([number % 2 == 0]),
                "aspects/has_aspects": np.array([number < 2]),
            }
        records.append(record(example(values)))
    parts = np.array_split(np.arange(len(records)), shards)
    for shard, part in enumerate(parts):
        path = folder / f"{name}-train.tfrecord-{shard:05d}-of-{shards:05d}"
        path.write_bytes(b"".join(records[number] for number in part))
    split = {"name": "train", "shardLengths": [str(len(part)) for part in parts]}
    info = {"name": name, "version": "0.1.0", "fileFormat": "tfrecord", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder
