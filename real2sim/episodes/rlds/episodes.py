"""The episodes of an RLDS dataset as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.arrays import beyond_float32
from real2sim.episodes.images import decoded, picture_size
from real2sim.episodes.rlds.dataset import RLDSDataset
from real2sim.episodes.rlds.example import Example
from real2sim.episodes.rlds.features import STEPS, Feature
from real2sim.episodes.rlds.layout import RLDSLayout, choose_layout


@dataclass(frozen=True)
class Tables:
    """What an episode says besides its frames."""

    action: np.ndarray
    """float32 (t n)."""
    state: np.ndarray | None
    """float32 (t m)."""
    instruction: str
    """Empty where the dataset has none."""
    several: bool
    """The instruction changes on the way."""
    embedding: np.ndarray | None
    """float32 (512,)."""
    success: bool | None


class RLDSEpisodes:
    """The episodes of a split by number, each read when it is asked for; images by Pillow's accurate decoder.

    Raises what `RLDSDataset` and `choose_layout` raise, at once.
    """

    def __init__(self, folder: Path, split: str = "train", layout: RLDSLayout | None = None) -> None:
        self.dataset = RLDSDataset(folder, split)
        self.layout = layout or choose_layout(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        """What a dataset folder would keep of the episode, with the frames as they are recorded."""
        tables = self.tables(number)
        frames = list(self.frames(number, self.layout.images[0]))
        arrays = {
            "image": np.stack(frames),
            "action": tables.action,
            "instruction": np.array(tables.instruction),
        }
        if tables.embedding is not None:
            arrays["embedding"] = tables.embedding
        if tables.success is not None:
            arrays["success"] = np.array(tables.success)
        return arrays

    def where(self, number: int) -> str:
        """The place of an episode, for errors."""
        return self.dataset.where(number)

    def length(self, number: int) -> int:
        """How many steps an episode has."""
        return self.dataset.steps(self.dataset.example(number))

    def instruction(self, number: int) -> tuple[str, bool]:
        """What the robot was told at first, and whether that changes; nothing else of the episode is read."""
        return self._instruction(self.dataset.example(number))

    def tables(self, number: int) -> Tables:
        """Actions, state, instruction and outcome of an episode.

        Raises ValueError with the step and the name of a number that is not finite, for features that do not have as
        many entries as the episode has steps, and for an outcome that is neither 0 nor 1.
        """
        example = self.dataset.example(number)
        layout = self.layout
        instruction, several = self._instruction(example)
        embedding = self._embedding(example, layout.embedding) if layout.embedding is not None else None
        success = None
        if layout.outcome is not None:
            path, known = layout.outcome
            if known not in self.dataset.features or self.dataset.number_of_episode(example, known):
                success = self.dataset.number_of_episode(example, path)
        for camera in layout.images:
            self._check_count(example, camera.path, len(example.blobs(camera.path)), "images")
        return Tables(
            action=self._vectors(number, example, layout.action, layout.action_names),
            state=self._vectors(number, example, layout.state, layout.state_names) if layout.state else None,
            instruction=instruction,
            several=several,
            embedding=embedding,
            success=success,
        )

    def frames(
        self, number: int, camera: Feature, indices: Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Frames uint8 (h w 3) of a camera; grey ones in three equal channels."""
        example = self.dataset.example(number, verify=True)
        blobs = example.blobs(camera.path)
        for index in range(len(blobs)) if indices is None else indices:
            yield decoded(blobs[index], f"{self.where(number)}, step {index}: {camera.path}")

    def frame_size(self, number: int, camera: Feature) -> tuple[int, int]:
        """Height and width of an episode's first frame, which is not decoded."""
        blobs = self.dataset.example(number).blobs(camera.path)
        where = f"{self.where(number)}: {camera.path}"
        if not blobs:
            raise ValueError(f"{where} has no frame; leave the episode out or download the file again")
        return picture_size(blobs[0], f"{where}, step 0")

    def _embedding(self, example: Example, path: str) -> np.ndarray:
        rows = self.dataset.numbers(example, path)
        self._check_count(example, path, len(rows), "rows")
        if not len(rows) or not np.isfinite(rows[0]).all():
            raise ValueError(
                f"{example.where}: {path} of step 0 is not finite; leave the episode out or mend the dataset"
            )
        return rows[0].astype(np.float32)

    def _check_count(self, example: Example, path: str, found: int, what: str) -> None:
        steps = self.dataset.steps(example)
        if found != steps:
            raise ValueError(
                f"{example.where}: {path} has {found} {what} for {steps} steps; leave the episode out or download "
                "the dataset again"
            )

    def _instruction(self, example: Example) -> tuple[str, bool]:
        for path in self.layout.instructions:
            found = self.dataset.texts(example, path)
            if path.startswith(f"{STEPS}/"):
                self._check_count(example, path, len(found), "texts")
            texts = [text for text in found if text]
            if texts:
                return texts[0], len(set(texts)) > 1
        return "", False

    def _vectors(
        self, number: int, example: Example, features: Sequence[Feature], names: Sequence[str]
    ) -> np.ndarray:
        parts = []
        for feature in features:
            values = self.dataset.numbers(example, feature.path)
            self._check_count(example, feature.path, len(values), "rows")
            parts.append(values.astype(np.float64))
        joined = np.concatenate(parts, axis=1)
        wrong = beyond_float32(joined)
        if wrong is not None:
            step, place = wrong
            raise ValueError(
                f"{self.where(number)}, step {step}: {names[place]} is {joined[step, place]}; leave the episode out "
                "with --episodes or mend the dataset"
            )
        return joined.astype(np.float32)
