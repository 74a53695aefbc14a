"""Training windows: cut from a dataset held in memory, or from episodes of any length read one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from real2sim.checks import check_whole
from real2sim.episodes.arrays import read_arrays
from real2sim.episodes.npz import dataset_files, read_dataset
from real2sim.episodes.rlds.episodes import RLDSEpisodes
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.training.diffusion_forcing import Window
from real2sim.vid2world.training.train_states import read_states
from real2sim.vid2world.world_model import WorldModel

START_SHARE = 0.35
"""Share of windows that begin where episodes begin: every rollout does."""
ATTEMPTS = 1000
"""Episodes that may be too short, one after the other, before a dataset is given up."""


@dataclass(frozen=True)
class WindowOptimisation(Optimisation):
    """How long and how fast to train, on windows of how many frames."""

    windows: int = 3
    """Windows per pass and process."""
    frames: int = 12
    """Frames per window."""
    gradient_checkpointing: bool = False
    """Compute each block of the network again in the backward pass: less memory, a third more time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("windows", self.windows)
        check_whole("frames", self.frames, low=2)


class WindowSource:
    """Draws windows of ``frames`` frames from all episodes of a folder."""

    def __init__(self, folder: Path, frames: int, state_names: tuple[str, ...] = ()) -> None:
        data = read_dataset(folder)
        self.states = read_states([folder], state_names)[0] if state_names else None
        self.images, self.actions = data["image"], data["action"]
        if self.images.shape[1] < frames:
            raise ValueError(f"{folder}: episodes have {self.images.shape[1]} frames, windows need {frames}")
        self.frames = frames

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, model: WorldModel, count: int, rng: np.random.Generator) -> Window:
        """``count`` random windows as the model's latents and scaled actions."""
        episodes = rng.integers(len(self.images), size=count)
        last = self.images.shape[1] - self.frames
        offsets = np.where(rng.random(count) < START_SHARE, 0, rng.integers(last + 1, size=count))
        times = offsets[:, None] + np.arange(self.frames)
        frames = torch.from_numpy(self.images[episodes[:, None], times]).to(model.device)
        first = torch.from_numpy(self.images[episodes, :1]).to(model.device)
        # actions[i] leads from frame i to i + 1; the network is told, per frame, what led to it.
        led = self.actions[episodes[:, None], np.maximum(times - 1, 0)] * (times > 0)[..., None]
        with torch.no_grad():
            return Window(
                model.first_stage.encode(frames),
                model.first_stage.encode(first),
                model.scaled(torch.from_numpy(led.astype(np.float32)).to(model.device)),
                None if self.states is None else self.states[episodes[:, None], times].to(model.device),
            )


class Episodes(Protocol):
    """Recorded episodes by number, each read when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Mapping[str, np.ndarray]:
        """``image`` uint8 (t h w 3) and ``action`` (t a), or (t) for actions that are numbers."""

    def where(self, number: int) -> str:
        """The place of an episode, for errors."""


class EpisodeFolder:
    """The episodes of a dataset folder, one npz each."""

    def __init__(self, folder: Path) -> None:
        self._files = dataset_files(folder)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        return read_arrays(self._files[number])

    def where(self, number: int) -> str:
        return str(self._files[number])


def open_episodes(folder: Path, split: str = "train") -> Episodes:
    """A dataset folder, or a split of an RLDS dataset if the folder has a ``features.json``."""
    return RLDSEpisodes(folder, split) if (folder / "features.json").is_file() else EpisodeFolder(folder)


class EpisodeWindows:
    """Draws windows of ``frames`` frames from episodes of any length; shorter ones are passed over.

    ``image_size`` (h w) and ``action_shape`` are what the model expects of each frame.
    """

    def __init__(
        self, episodes: Episodes, frames: int, image_size: tuple[int, int], action_shape: tuple[int, ...]
    ) -> None:
        self.episodes, self.frames = episodes, frames
        self._image_shape, self._action_shape = (*image_size, 3), action_shape

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Frames uint8 (count t h w 3) and the actions recorded with them (count t ...)."""
        windows = [self._window(rng) for _ in range(count)]
        return np.stack([frames for frames, _ in windows]), np.stack([actions for _, actions in windows])

    def _window(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(ATTEMPTS):
            number = int(rng.integers(len(self.episodes)))
            images, actions = self._checked(number)
            if len(images) >= self.frames:
                first = int(rng.integers(len(images) - self.frames + 1))
                return images[first : first + self.frames], actions[first : first + self.frames]
        raise ValueError(
            f"{ATTEMPTS} episodes drawn at random, at last {self.episodes.where(number)}, were all shorter than "
            f"the {self.frames} frames of a window; ask for shorter windows"
        )

    def _checked(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        episode, where = self.episodes[number], self.episodes.where(number)
        for name in ("image", "action"):
            if name not in episode:
                raise ValueError(f"{where} has no array {name!r}; it holds {', '.join(episode)}")
        images, actions = episode["image"], episode["action"]
        for name, array, expected in (
            ("image", images, self._image_shape),
            ("action", actions, self._action_shape),
        ):
            if array.ndim == 0 or array.shape[1:] != expected or len(array) != len(images):
                wanted = ", ".join(map(str, ("t", *expected)))
                raise ValueError(f"{where}: {name} is {array.shape}, the model needs ({wanted})")
        if images.dtype != np.uint8:
            raise ValueError(f"{where}: image is {images.dtype}, expected uint8")
        return images, actions
