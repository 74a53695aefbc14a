"""Episodes of a run or dataset folder for pages: names, instructions and frames, and no file beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.episodes.run_folder import EPISODES, RUN_FILE, RunFolder
from real2sim.report.film_strips import saved_frames
from real2sim.robot import read_robot

ASSUMED_HZ = 5.0
"""Frames per second of recordings whose ``robot.json`` is not there."""


class NotHereError(LookupError):
    """What a page asked for does not exist; the message may be shown to anybody."""


class RunEpisodes:
    """The episodes of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = RunFolder(folder).rows()
        if not rows:
            raise FileNotFoundError(f"{folder} holds no episodes; make some with real2sim rollout")
        self._instructions = {
            str(row["episode"]): str(row.get("instruction") or str(row["task"]).replace("_", " "))
            for row in rows
        }
        self.names = sorted(self._instructions)

    def instruction(self, episode: str) -> str:
        """What the robot was told."""
        return self._instructions[episode]

    def frames(self, episode: str) -> np.ndarray:
        """Frames uint8 (t h w 3)."""
        return run_frames(self.folder, episode)


class DatasetEpisodes:
    """The episodes of a dataset folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths = {path.stem: path for path in recorded_files(folder)}
        self.names = sorted(self._paths)

    def instruction(self, episode: str) -> str:
        """What the robot was told; empty where nobody wrote it down."""
        return str(read_npz(self._paths[episode], (), optional=("instruction",)).get("instruction", ""))

    def frames(self, episode: str) -> np.ndarray:
        """Frames uint8 (t h w 3)."""
        return read_npz(inside(self.folder, self._paths[episode]), ["image"])["image"]


def recorded_files(folder: Path) -> list[Path]:
    """The episodes of a dataset folder; ValueError where the first of its npz files is none, as those of a suite."""
    files = dataset_files(folder)
    read_npz(files[0], ["image"])
    return files


def find_episodes(folder: Path) -> RunEpisodes | DatasetEpisodes:
    """The episodes of a run or dataset folder, whichever it is."""
    if (folder / RUN_FILE).is_file():
        return RunEpisodes(folder)
    if folder.is_dir() and not any(folder.glob("*.npz")):
        raise FileNotFoundError(
            f"{folder} is neither a run folder ({RUN_FILE}) nor a dataset folder (npz files); name one of them"
        )
    return DatasetEpisodes(folder)


def run_frames(run: Path, episode: str) -> np.ndarray:
    """Frames uint8 (t h w 3) of an episode of a run; ValueError for a name or link that leads out of it."""
    folder = run / EPISODES
    return saved_frames(inside(folder, folder / f"{episode}.npz"))


def inside(folder: Path, path: Path) -> Path:
    """The same path; ValueError unless it is a file of ``folder`` itself, wherever links lead."""
    if path.resolve().parent != folder.resolve():
        raise ValueError(f"{path} leads out of {folder}; episodes are files of that folder")
    return path


def frames_per_second(folder: Path) -> float:
    """How fast the frames of a run or dataset folder were recorded."""
    robot = read_robot(folder)
    return ASSUMED_HZ if robot is None else robot.control_hz
