"""Episodes with known outcomes for training a judge: any frame can serve as the final one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.episodes.keep_out import for_training
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.success.classifier import ClassifierConfig, judged_frames
from real2sim.success.goals import Goal, MeasuredGoals, goal_index, normal_instruction


@dataclass(frozen=True)
class Clips:
    """Network input and labels of a batch of episodes."""

    frames: np.ndarray
    """uint8 (b t h w 3): the first frame and the last ones."""
    joint: np.ndarray
    """Joint position (b) in metres on the final frame, NaN where unknown."""
    reached: np.ndarray
    """Whether each goal is reached, bool (b, goals)."""
    known: np.ndarray
    """Where ``reached`` holds a fact, bool (b, goals)."""


class Outcomes:
    """Episodes of one or more dataset folders, held in memory (258 kB for 21 frames of 64 x 64 pixels)."""

    def __init__(self, folders: Sequence[Path | str], config: ClassifierConfig, joint: str = "joint") -> None:
        """``joint`` names the array that holds the joint position, where a goal has a threshold."""
        paths = [path for folder in folders for path in for_training(dataset_files(Path(folder)))]
        self.config = config
        self.names = [path.stem for path in paths]
        videos, joints, goals, successes = [], [], [], []
        for path in paths:
            video, positions, instruction, success = _read(path, config, joint)
            videos.append(video)
            joints.append(positions)
            goals.append(goal_index(config.goals, instruction))
            successes.append(success)
        self.lengths = np.array([len(video) for video in videos])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.images = np.concatenate(videos)
        self.joint = np.concatenate(joints)
        self.goals = np.array(goals)
        self.success = np.array(successes)

    def __len__(self) -> int:
        return len(self.lengths)

    def final_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Every episode with its true final frame: (episode (e,), frame (e,))."""
        return np.arange(len(self)), self.lengths - 1

    def all_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Every frame that can serve as a final one: (episode (m,), frame (m,)).

        Without a joint position only the recorded outcome of the real final frame is known.
        """
        if any(goal.threshold is None for goal in self.config.goals) or np.isnan(self.joint).any():
            return self.final_frames()
        episode = np.repeat(np.arange(len(self)), self.lengths)
        return episode, np.arange(len(episode)) - self.starts[episode]

    def clips(self, episode: np.ndarray, frame: np.ndarray) -> Clips:
        """The given episodes as if they had ended at the given frames."""
        index = np.array(
            [
                [start + seen for seen in judged_frames(final + 1, self.config.recent)]
                for start, final in zip(self.starts[episode].tolist(), frame.tolist(), strict=True)
            ]
        )
        joint = self.joint[index[:, -1]]
        reached = np.zeros((len(episode), len(self.config.goals)), bool)
        known = np.zeros_like(reached)
        for number, goal in enumerate(self.config.goals):
            own = (self.goals[episode] == number) & (frame == self.lengths[episode] - 1)
            reached[own, number], known[own, number] = self.success[episode[own]], True
            if goal.threshold is not None:
                measured = np.isfinite(joint)
                reached[measured, number], known[measured, number] = goal.reached(joint[measured]), True
        return Clips(self.images[index], joint, reached, known)


def dataset_goals(folders: Sequence[Path | str], measured: MeasuredGoals | None) -> tuple[Goal, ...]:
    """The goals of a dataset's instructions.

    Those of ``measured`` where it knows every instruction and every episode holds its joint position; else one goal
    per instruction, decided by the recorded outcome.
    """
    instructions, complete = set(), True
    for path in (path for folder in folders for path in for_training(dataset_files(Path(folder)))):
        episode = read_npz(path, ["instruction"], optional=[measured.joint] if measured is not None else [])
        instructions.add(normal_instruction(str(episode["instruction"])))
        complete = complete and measured is not None and measured.joint in episode
    if (
        measured is not None
        and complete
        and instructions <= {normal_instruction(goal.instruction) for goal in measured.goals}
    ):
        return measured.goals
    return tuple(Goal(instruction) for instruction in sorted(instructions))


def near_threshold(joint: np.ndarray, goals: tuple[Goal, ...], distance: float) -> np.ndarray:
    """True where a joint position lies within ``distance`` metres of any goal's threshold."""
    thresholds = [goal.threshold for goal in goals if goal.threshold is not None]
    near = np.zeros(np.shape(joint), bool)
    for threshold in thresholds:
        near |= np.abs(np.asarray(joint) - threshold) < distance
    return near


def _read(path: Path, config: ClassifierConfig, joint: str) -> tuple[np.ndarray, np.ndarray, str, bool]:
    measured = any(goal.threshold is not None for goal in config.goals)
    names = ["image", "instruction", "success", *([joint] if measured else [])]
    episode = read_npz(path, names)
    images = episode["image"]
    if images.shape[1:3] != config.image_size:
        raise ValueError(
            f"{path} has images of {images.shape[1]} x {images.shape[2]} pixels, the classifier expects "
            f"{config.image_size[0]} x {config.image_size[1]}; choose another image_size or resize them"
        )
    positions = episode[joint] if measured else np.full(len(images), np.nan)
    return images, np.asarray(positions, np.float32), str(episode["instruction"]), bool(episode["success"])
