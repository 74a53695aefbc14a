"""Training windows: cut from a dataset held in memory, or from episodes of any length read one by one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from real2sim.checks import check_whole
from real2sim.episodes.arrays import read_arrays
from real2sim.episodes.keep_out import for_training, read_keep_out
from real2sim.episodes.npz import check_one_size, dataset_files, dataset_robot, read_npz
from real2sim.episodes.rlds.episodes import RLDSEpisodes
from real2sim.host_copies import to_device
from real2sim.robot import Robot
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.training.diffusion_forcing import Window
from real2sim.vid2world.training.train_states import read_transitions
from real2sim.vid2world.world_model import WorldModel

LOG = logging.getLogger(__name__)
START_SHARE = 0.35
"""Share of windows that begin where episodes begin: every rollout does."""
MEMORY = 8 << 30
"""Bytes of episodes that a training holds in memory."""
READ_AGAIN = 16
"""Episodes beyond that which are kept after they were read again."""
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
    """Draws windows of ``frames`` frames from all episodes of a folder and ``more`` ones, which may differ in length.

    Episodes are held in memory up to ``memory`` bytes; the rest is read again when a window of it is drawn.
    """

    def __init__(
        self,
        folder: Path,
        frames: int,
        state_names: tuple[str, ...] = (),
        memory: int = MEMORY,
        more: Sequence[Path] = (),
    ) -> None:
        folders = [folder, *more]
        self.states = (
            [episode.states for episode in read_transitions(folders, state_names)] if state_names else None
        )
        self.frames = frames
        self._files, self._robots = [], []
        for each in folders:
            found = for_training(dataset_files(each))
            self._files += found
            self._robots += [dataset_robot(each)] * len(found)
        self._held: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._read_again = lru_cache(maxsize=READ_AGAIN)(self._read)
        sizes: dict[Path, tuple[int, ...]] = {}
        lengths, free = [], memory
        for number, path in enumerate(self._files):
            images, actions = self._read(number)
            if len(actions) not in (len(images), len(images) - 1):
                raise ValueError(
                    f"{path} has {len(images)} frames and {len(actions)} actions; expected as many"
                )
            lengths.append(len(images))
            sizes[path] = images.shape[1:3]
            free -= images.nbytes + actions.nbytes
            if free >= 0:
                self._held[number] = images, actions
        check_one_size(sizes)
        self._lengths = np.array(lengths)
        self._long_enough = np.flatnonzero(self._lengths >= frames)
        if not len(self._long_enough):
            raise ValueError(f"{folder}: episodes have up to {max(lengths)} frames, windows need {frames}")

    def __len__(self) -> int:
        return len(self._lengths)

    def sample(self, rng: np.random.Generator, episodes: int = 300) -> np.ndarray:
        """Some frames uint8 (n h w 3) of random episodes, about four of each."""
        chosen = rng.integers(len(self), size=min(len(self), episodes))
        return np.concatenate([self[i][0][:: max(1, int(self._lengths[i]) // 4)] for i in chosen.tolist()])

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames uint8 (t h w 3) of an episode and what the world model is given for its actions, float32 (t n)."""
        return self._held[number] if number in self._held else self._read_again(number)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        episode = read_npz(self._files[number])
        robot = self._robots[number]
        return episode["image"], robot.world_actions(robot.per_frame(episode["action"].astype(np.float32)))

    def draw(self, model: WorldModel, count: int, rng: np.random.Generator) -> Window:
        """``count`` random windows as the model's latents and scaled actions."""
        episodes = self._long_enough[rng.integers(len(self._long_enough), size=count)]
        last = self._lengths[episodes] - self.frames
        offsets = np.where(rng.random(count) < START_SHARE, 0, rng.integers(last + 1))
        frames, firsts, led = [], [], []
        for number, offset in zip(episodes.tolist(), offsets.tolist(), strict=True):
            images, actions = self[number]
            frames.append(images[offset : offset + self.frames])
            firsts.append(images[:1])
            # actions[i] leads from frame i to i + 1; the network is told, per frame, what led to it.
            before = actions[max(offset - 1, 0) : offset + self.frames - 1]
            led.append(before if offset else np.concatenate([np.zeros_like(actions[:1]), before]))
        states = None
        if self.states is not None:
            spans = zip(episodes.tolist(), offsets.tolist(), strict=True)
            rows = [self.states[number][offset : offset + self.frames] for number, offset in spans]
            states = to_device(torch.stack(rows), model.device)
        with torch.no_grad():
            return Window(
                model.first_stage.encode(to_device(np.stack(frames), model.device)),
                model.first_stage.encode(to_device(np.stack(firsts), model.device)),
                model.scaled(to_device(np.stack(led), model.device)),
                states,
            )

    def draw_frames(
        self, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
        """``count`` later frames of random episodes and the first ones of these, uint8 (n h w 3), and the states
        (n numbers) at the later ones."""
        assert self.states is not None
        episodes = self._long_enough[rng.integers(len(self._long_enough), size=count)]
        times = 1 + rng.integers(self._lengths[episodes] - 1)
        chosen = list(zip(episodes.tolist(), times.tolist(), strict=True))
        return (
            np.stack([self[number][0][time] for number, time in chosen]),
            np.stack([self[number][0][0] for number, _ in chosen]),
            torch.stack([self.states[number][time] for number, time in chosen]),
        )


class Episodes(Protocol):
    """Recorded episodes by number, each read when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Mapping[str, np.ndarray]:
        """``image`` uint8 (t h w 3) and ``action`` (t n), or (t K n) for K actions per frame."""

    def where(self, number: int) -> str:
        """The place of an episode, for errors."""


class EpisodeFolder:
    """The episodes of a dataset folder, one npz each."""

    def __init__(self, folder: Path) -> None:
        self._files = for_training(dataset_files(folder))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        return read_arrays(self._files[number])

    def where(self, number: int) -> str:
        return str(self._files[number])


class WithoutStarts:
    """The episodes of an RLDS dataset but for those (dataset, split and number) that suites begin with."""

    def __init__(self, episodes: RLDSEpisodes, out: Collection[str]) -> None:
        self._episodes = episodes
        self._numbers = [i for i in range(len(episodes)) if episodes.dataset.source(i) not in out]
        if not self._numbers:
            raise ValueError(
                f"all {len(episodes)} episodes of {episodes.dataset.folder} are starts of suites that are kept out; "
                "train on others"
            )
        LOG.info(
            "%d of %d episodes are starts of suites and are left out of training",
            len(episodes) - len(self._numbers), len(episodes),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Mapping[str, np.ndarray]:
        return self._episodes[self._numbers[number]]

    def where(self, number: int) -> str:
        return self._episodes.where(self._numbers[number])


def open_episodes(folder: Path, split: str = "train", keep_out: Sequence[Path] = ()) -> Episodes:
    """A dataset folder, or a split of an RLDS dataset if the folder has a ``features.json``.

    ``keep_out`` are suites whose starts an RLDS dataset's episodes are not learned from; a dataset folder says itself
    which of its episodes those are.
    """
    if not (folder / "features.json").is_file():
        if keep_out:
            raise ValueError(
                f"--keep-out is for RLDS datasets; {folder} is a dataset folder, convert it with --keep-out or make "
                "the suite from it"
            )
        return EpisodeFolder(folder)
    episodes = RLDSEpisodes(folder, split)
    if not keep_out:
        LOG.warning(
            "all %d episodes of %s are learned from; --keep-out SUITE leaves out those that a suite begins with",
            len(episodes), folder,
        )  # fmt: skip
        return episodes
    return WithoutStarts(episodes, {source for suite in keep_out for source in read_keep_out(suite)})


class EpisodeWindows:
    """Draws windows of ``frames`` frames from episodes of any length; shorter ones are passed over.

    ``image_size`` (h w) is what the model expects of each frame, ``action_width`` of each frame's action; ``robot``
    says how the K actions of a frame are given to it.
    """

    def __init__(
        self,
        episodes: Episodes,
        frames: int,
        image_size: tuple[int, int],
        action_width: int,
        robot: Robot | None = None,
    ) -> None:
        self.episodes, self.frames, self.robot = episodes, frames, robot
        self._image_shape = (*image_size, 3)
        self._action_shape = (action_width,) if robot is None else robot.action_shape

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Frames uint8 (count t h w 3) and what the model is given for the actions recorded with them (count t n)."""
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
        robot = self.robot
        return images, actions if robot is None else robot.world_actions(robot.per_frame(actions))
