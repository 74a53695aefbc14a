"""Make the development policies.

    python -m benchmarks.make_development_set --data data/train --experts data/experts --out development

Training that was stopped is continued; what is there is not made again.  Needs a dataset of mixed quality with expert
labels (`real2sim collect`) and one of scripted experts alone, which is recorded if it is missing (extra 'physics').
"""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.development_policies.members import (
    ARRAYS,
    MEMBERS,
    Member,
    halves,
    save_arrays,
    save_pixels,
)
from benchmarks.development_policies.nearest import NearestFrames, RandomFilters
from benchmarks.development_policies.pixels import Calibration
from benchmarks.development_policies.trained import train, trainings
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.npz import EXPERT_LABELS_FILE, dataset_files, read_npz
from real2sim.files import write_json, write_text
from real2sim.model_folder import CONFIG_FILE

LABELS = {"close drawer": "expert_close", "open drawer": "expert_open"}
EXPERTS = {"expert": 0.8, "scaled": 0.2}
TABLE = "policies.csv"


@dataclass(frozen=True)
class Make:
    """Make the development policies that are missing."""

    data: Path
    """Dataset folder of mixed quality with expert labels."""
    experts: Path
    """Dataset folder of scripted experts; recorded if it is missing."""
    out: Path
    """Folder of the development set."""
    only: tuple[str, ...] = ()
    """Make these alone."""
    expert_episodes: int = 200
    seed: int = 777
    """Seed with which ``data`` was collected: it says where the drawers stand."""


def record_experts(folder: Path, episodes: int, seed: int = 778) -> None:
    """Physics episodes in which the scripted experts act."""
    from real2sim.drawer.collect import episode_path, record_episode
    from real2sim.drawer.physics import DrawerPhysics
    from real2sim.drawer.presets import EXPERT_LABELS, drawer_robot

    drawer_robot().save(folder)
    write_json(folder / EXPERT_LABELS_FILE, EXPERT_LABELS)
    physics = DrawerPhysics()
    for index in range(episodes):
        if not episode_path(folder, index).exists():
            write_arrays(episode_path(folder, index), record_episode(physics, seed, index, EXPERTS))


def calibrate(data: Path, seed: int, episodes: int = 400) -> Calibration:
    """The camera's calibration, from recorded hands and the places of the drawers in a collected dataset."""
    from real2sim.drawer.physics import HANDLE_OFFSET, TASKS, DrawerStart

    frames: list[np.ndarray] = []
    hands: list[np.ndarray] = []
    handles: list[np.ndarray] = []
    for path in dataset_files(data)[:episodes]:
        episode = read_npz(path, ["image", "hand", "drawer", "task"])
        rng = np.random.default_rng([seed, int(path.stem.removeprefix("episode_"))])
        task = str(rng.choice(list(TASKS)))
        if task != str(episode["task"]):
            raise ValueError(f"{path} was not collected with seed {seed}; give the seed of the dataset")
        body = np.array([DrawerStart.draw(task, rng).drawer_x, 0.9, 0.0])
        chosen = np.random.default_rng([1, seed, len(frames)]).integers(len(episode["image"]), size=6)
        joint = episode["drawer"][chosen][:, None] * np.array([[0.0, 1.0, 0.0]])
        frames.append(episode["image"][chosen])
        hands.append(episode["hand"][chosen])
        handles.append(body + HANDLE_OFFSET + joint)
    return Calibration.fitted(np.concatenate(frames), np.concatenate(hands), np.concatenate(handles))


def labelled(data: Path, episodes: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Frames uint8 (n h w 3) and what the expert of each instruction would do (n 13)."""
    read = [read_npz(path, ["image", *LABELS.values()]) for path in dataset_files(data)[:episodes]]
    labels = {name: np.concatenate([episode[array] for episode in read]) for name, array in LABELS.items()}
    return np.concatenate([episode["image"] for episode in read]), labels


def make(asked: Make, member: Member) -> None:
    """Make one member."""
    folder = asked.out / member.name
    if member.manner is not None:
        save_pixels(folder, calibrate(asked.data, asked.seed), member.manner)
    elif member.kind == "nearest":
        count, episodes = (5, 300) if member.name.endswith("five") else (1, 900)
        frames, labels = labelled(asked.data, episodes)
        save_arrays(folder, "nearest", NearestFrames.fitted(frames, labels, count))
    elif member.kind == "filters":
        frames, labels = labelled(asked.data, 450)
        batches = [
            (frames[i : i + 500], {name: value[i : i + 500] for name, value in labels.items()})
            for i in range(0, len(frames), 500)
        ]
        save_arrays(folder, "filters", RandomFilters.fitted(batches, seed=5))
    else:
        runs = asked.out / "runs"
        train(trainings(asked.data, asked.experts, runs)[member.family])
        source = runs / member.family / member.checkpoint
        folder.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            shutil.copyfile(path, folder / path.name)


def table() -> str:
    """The members as CSV."""
    text, half = io.StringIO(), halves()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["policy", "kind", "family", "half", "deterministic", "frames", "crisp"])
    for member in MEMBERS:
        row = [member.name, member.kind, member.family, half[member.name]]
        writer.writerow([*row, member.deterministic, member.frames, member.crisp])
    return text.getvalue()


def main() -> None:
    """Make what is missing and list it."""
    asked = tyro.cli(Make, description=__doc__)
    torch.set_num_threads(1)
    if not asked.experts.is_dir():
        record_experts(asked.experts, asked.expert_episodes)
    write_text(asked.out / TABLE, table())
    for member in MEMBERS:
        done = (asked.out / member.name / CONFIG_FILE).is_file() or (
            asked.out / member.name / ARRAYS
        ).is_file()
        if not done and (not asked.only or member.name in asked.only):
            make(asked, member)
            print(f"{member.name}: made", flush=True)


if __name__ == "__main__":
    main()
