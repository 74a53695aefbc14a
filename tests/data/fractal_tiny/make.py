"""Writes the tiny RLDS dataset beside this file: RT-1's feature tree, drawn frames, random actions.

    pip install tensorflow-cpu tensorflow-datasets
    python tests/data/fractal_tiny/make.py

Nothing in it was recorded: frames are coloured discs on a gradient, all else are seeded random numbers.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

HEIGHT, WIDTH = 256, 320
LENGTHS = (6, 4, 5)
INSTRUCTIONS = ("pick the disc", "move the disc left", "pick the disc")
SUCCESS = (True, False, True)

NUMBERS: dict[str, tuple[int, ...]] = {
    "base_pose_tool_reached": (7,),
    "gripper_closed": (1,),
    "gripper_closedness_commanded": (1,),
    "height_to_bottom": (1,),
    "natural_language_embedding": (512,),
    "orientation_box": (2, 3),
    "orientation_start": (4,),
    "robot_orientation_positions_box": (3, 3),
    "rotation_delta_to_go": (3,),
    "src_rotation": (4,),
    "vector_to_go": (3,),
    "workspace_bounds": (3, 3),
}
ACTIONS = {
    "base_displacement_vector": 2,
    "base_displacement_vertical_rotation": 1,
    "gripper_closedness_action": 1,
    "rotation_delta": 3,
    "world_vector": 3,
}
ASPECTS = ("already_success", "feasible", "has_aspects", "success", "undesirable")
ATTRIBUTES = ("collection_mode", "data_type", "env", "location", "objects_family", "task_family")


def drawn_frame(time: int, rng: np.random.Generator) -> np.ndarray:
    """A disc that moves to the right, on a gradient."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frame = np.stack([rows / HEIGHT, columns / WIDTH, np.full_like(rows, 0.5, dtype=float)], axis=-1) * 200
    inside = (rows - 128) ** 2 + (columns - 60 - 30 * time) ** 2 < 30**2
    frame[inside] = rng.integers(100, 256, 3)
    return frame.astype(np.uint8)


class Fractal20220817Data(tfds.core.GeneratorBasedBuilder):
    """Drawn episodes with the features of fractal20220817_data."""

    name = "fractal20220817_data"
    VERSION = tfds.core.Version("0.1.0")
    pkg_dir_path = Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        real, yes_no, whole = np.float32, np.bool_, np.int64
        tensor = tfds.features.Tensor
        observation = {key: tensor(shape=shape, dtype=real) for key, shape in NUMBERS.items()}
        observation["image"] = tfds.features.Image(shape=(HEIGHT, WIDTH, 3), encoding_format="jpeg")
        observation["natural_language_instruction"] = tfds.features.Text()
        action = {key: tensor(shape=(width,), dtype=real) for key, width in ACTIONS.items()}
        action["terminate_episode"] = tensor(shape=(3,), dtype=np.int32)
        attributes: dict[str, Any] = {key: tensor(shape=(), dtype=whole) for key in ATTRIBUTES}
        attributes |= {f"{key}_name": tfds.features.Text() for key in ATTRIBUTES}
        step = {
            "observation": observation,
            "action": action,
            "reward": tfds.features.Scalar(dtype=real),
            **{key: tensor(shape=(), dtype=yes_no) for key in ("is_first", "is_last", "is_terminal")},
        }
        features = tfds.features.FeaturesDict(
            {
                "steps": tfds.features.Dataset(step),
                "aspects": {key: tensor(shape=(), dtype=yes_no) for key in ASPECTS},
                "attributes": attributes,
            }
        )
        return tfds.core.DatasetInfo(builder=self, description="Drawn episodes for tests.", features=features)

    def _split_generators(self, _: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, (length, instruction, success) in enumerate(
            zip(LENGTHS, INSTRUCTIONS, SUCCESS, strict=True)
        ):
            rng = np.random.default_rng(number)
            steps = []
            for time in range(length):
                last = time == length - 1
                observation: dict[str, Any] = {
                    key: rng.normal(size=shape).astype(np.float32) for key, shape in NUMBERS.items()
                }
                observation["image"] = drawn_frame(time, rng)
                observation["natural_language_instruction"] = instruction
                action: dict[str, Any] = {
                    key: rng.uniform(-1, 1, width).astype(np.float32) for key, width in ACTIONS.items()
                }
                action["terminate_episode"] = np.array([last, not last, 0], np.int32)
                steps.append(
                    {
                        "observation": observation,
                        "action": action,
                        "reward": np.float32(last and success),
                        "is_first": time == 0,
                        "is_last": last,
                        "is_terminal": last,
                    }
                )
            aspects = {"already_success": False, "feasible": True, "has_aspects": True, "undesirable": False}
            yield (
                number,
                {
                    "steps": steps,
                    "aspects": {**aspects, "success": success},
                    "attributes": {
                        **dict.fromkeys(ATTRIBUTES, 0),
                        **{f"{key}_name": "drawn" for key in ATTRIBUTES},
                    },
                },
            )


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        builder = Fractal20220817Data(data_dir=scratch, file_format="tfrecord")
        builder.download_and_prepare()
        target = Path(__file__).parent / builder.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(Path(scratch) / builder.name, target)


if __name__ == "__main__":
    main()
