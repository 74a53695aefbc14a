"""Recorded and generated episodes whose outcome is known: from the dataset, from a run's rows, or from labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.episodes.keep_out import for_training
from real2sim.episodes.npz import dataset_files, dataset_robot, read_npz
from real2sim.episodes.run_folder import RUN_FILE, RunFolder
from real2sim.success.goals import normal_instruction


@dataclass(frozen=True)
class Episode:
    """One episode of a dataset folder or of a run, and where its arrays lie."""

    path: Path
    name: str
    instruction: str
    success: bool | None
    """Whether its end is a success; None where nobody says."""
    label: str = ""
    """What people said about it: success, failure, unclear, or nothing."""
    generated: bool = False
    """Drawn by a world model, that is, from a run folder."""

    @property
    def known(self) -> bool | None:
        """The outcome: a label stands above what was recorded, an unclear one makes it unknown."""
        return (self.label == "success" if self.label != "unclear" else None) if self.label else self.success

    def arrays(self, joint: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Frames uint8 (t h w 3) and joint positions (t) in metres, NaN where there are none."""
        if self.generated:
            images = RunFolder(self.path.parent.parent).episode(self.name)[0]
            return images, np.full(len(images), np.nan, np.float32)
        arrays = read_npz(self.path, ["image"] if joint is None else ["image", joint])
        images = arrays["image"]
        positions = np.full(len(images), np.nan) if joint is None else arrays[joint]
        if np.shape(positions) != (len(images),):
            raise ValueError(
                f"{self.path}: {joint} has shape {np.shape(positions)}, expected one position for each of the "
                f"{len(images)} frames"
            )
        return images, np.asarray(positions, np.float32)

    def done(self, frames: int) -> np.ndarray:
        """Whether the task is done at each of ``frames`` frames, float32 (t) of 0 and 1; NaN where nobody recorded it,
        and where people said something about the episode."""
        unknown = np.full(frames, np.nan, np.float32)
        if self.generated or self.label:
            return unknown
        reached = read_npz(self.path, [], optional=["reached"]).get("reached")
        if reached is None:
            return unknown
        if reached.dtype != np.bool_ or reached.shape != (frames,):
            raise ValueError(
                f"{self.path}: reached is {reached.dtype} {reached.shape}, expected one bool for each of the "
                f"{frames} frames"
            )
        return reached.astype(np.float32)


def find_episodes(folders: Sequence[Path | str], labels: Mapping[str, str] | None = None) -> list[Episode]:
    """The episodes of dataset and run folders, without starts of suites, with what is known of their outcomes.

    Raises ValueError for a label of an episode that no folder holds or that two folders hold.
    """
    labels = labels or {}
    episodes = [episode for folder in folders for episode in _folder_episodes(Path(folder), labels)]
    found: dict[str, Path] = {}
    for episode in episodes:
        if episode.name in labels and episode.name in found:
            raise ValueError(
                f"a label names the episode {episode.name!r}, which is in {found[episode.name].parent} and in "
                f"{episode.path.parent}; train on one of the folders, or rename the file"
            )
        found[episode.name] = episode.path
    foreign = sorted(set(labels) - set(found))
    if foreign:
        raise ValueError(
            f"a label names the episode {foreign[0]!r} ({len(foreign)} such labels), which is in none of "
            f"{', '.join(map(str, folders))}; add the dataset or run folder that holds it"
        )
    return episodes


def split_labels(
    labels: Mapping[str, str], data: Sequence[Path | str], heldout: Sequence[Path | str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Labels of the episodes of ``data`` and of those of ``heldout``.

    Raises ValueError for a label of an episode that both hold.
    """
    apart = {episode.name for episode in find_episodes(heldout)} if labels and heldout else set()
    both = sorted(apart & set(labels) & {episode.name for episode in find_episodes(data)}) if apart else []
    if both:
        raise ValueError(
            f"a label names the episode {both[0]!r}, which is in --data and in --heldout; rename the file in one "
            "of them"
        )
    own = {episode: label for episode, label in labels.items() if episode not in apart}
    return own, {episode: label for episode, label in labels.items() if episode in apart}


def canvas_size(folders: Sequence[Path | str]) -> tuple[int, int]:
    """Height and width of the frames: those of the first dataset folder, or of the first generated episode."""
    for folder in folders:
        if not (Path(folder) / RUN_FILE).is_file():
            return dataset_robot(Path(folder)).canvas_size
    episodes = find_episodes(folders)
    if not episodes:
        raise FileNotFoundError(f"{folders[0]} holds no episodes; make some with real2sim rollout")
    height, width = episodes[0].arrays(None)[0].shape[1:3]
    return height, width


def outcomes_digest(episodes: Sequence[Episode]) -> str:
    """Changes with the episodes and with what is known of their outcomes."""
    text = "\n".join(f"{episode.name},{episode.instruction},{episode.known}" for episode in episodes)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _folder_episodes(folder: Path, labels: Mapping[str, str]) -> Iterator[Episode]:
    if (folder / RUN_FILE).is_file():
        run = RunFolder(folder)
        for row in sorted(run.rows(), key=lambda row: str(row["episode"])):
            name, success = str(row["episode"]), row.get("success")
            instruction = normal_instruction(str(row["instruction"]))
            yield Episode(
                run.episode_path(name), name, instruction, success, labels.get(name, ""), generated=True
            )
        return
    for path in for_training(dataset_files(folder)):
        arrays = read_npz(path, ["instruction"], optional=["success"])
        success = bool(arrays["success"]) if "success" in arrays else None
        instruction = normal_instruction(str(arrays["instruction"]))
        yield Episode(path, path.stem, instruction, success, labels.get(path.stem, ""))
