"""Episodes with known outcomes for training a judge: any frame whose outcome is known can serve as the final one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.episodes.npz import read_npz
from real2sim.success.classifier import ClassifierConfig, judged_frames
from real2sim.success.goals import Goal, MeasuredGoals, goal_index, normal_instruction
from real2sim.success.known_outcomes import Episode, find_episodes, outcomes_digest

logger = logging.getLogger(__name__)

EARLY = 0.7
"""Share of a demonstration after which its frames are neither called failures nor successes."""


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
    """Where ``reached`` holds a fact, or with early negatives an assumption, bool (b, goals)."""


@dataclass(frozen=True)
class EarlyNegatives:
    """How failures are made from successes: an instruction is not done yet early in its own episodes."""

    until: float = EARLY
    """Frames before this share of a success are taken as failures; those after it, but the last, as neither."""
    other_tasks: bool = True
    """Whether the ends of other instructions are failures too; wrong where instructions paraphrase each other."""


class Outcomes:
    """Episodes of dataset and run folders, held in memory (258 kB for 21 frames of 64 x 64 pixels)."""

    def __init__(
        self,
        folders: Sequence[Path | str],
        config: ClassifierConfig,
        joint: str = "joint",
        labels: Mapping[str, str] | None = None,
        early: EarlyNegatives | None = None,
        skip_others: bool = False,
    ) -> None:
        """``joint`` names the array that holds the joint position, where a goal has a threshold.

        ``labels`` (episode -> success, failure or unclear) stand above recorded outcomes. With ``early`` recorded
        episodes without an outcome are taken as demonstrations, that is, as successes, and their earlier frames as
        failures; otherwise episodes without an outcome are left out. Those of an instruction without a goal are an
        error, or left out with ``skip_others``.
        """
        measured = any(goal.threshold is not None for goal in config.goals)
        found = find_episodes(folders, labels)
        self.config, self.early = config, early
        self.digest = outcomes_digest(found)
        self.assumed = 0
        """Episodes that nobody called a success, taken as demonstrations."""
        if skip_others:
            instructions = {normal_instruction(goal.instruction) for goal in config.goals}
            found = [episode for episode in found if episode.instruction in instructions]
        chosen = [episode for item in found if (episode := self._chosen(item, measured)) is not None]
        if len(chosen) < len(found):
            logger.info(
                "%d of %d episodes have no known outcome and are left out",
                len(found) - len(chosen),
                len(found),
            )
        if not chosen:
            raise ValueError(
                f"none of the {len(found)} episodes in {', '.join(map(str, folders))} has a known outcome; give "
                "labels, or take the episodes as demonstrations (--negatives early)"
            )
        self.names = [episode.name for episode in chosen]
        self.generated = np.array([episode.generated for episode in chosen])
        self.recorded = np.array([episode.known is not None for episode in chosen])
        self.goals = np.array([goal_index(config.goals, episode.instruction) for episode in chosen])
        videos, joints = [], []
        for episode in chosen:
            images, positions = episode.arrays(joint if measured else None)
            _check_size(images, episode, config)
            videos.append(images)
            joints.append(positions)
        self.lengths = np.array([len(video) for video in videos])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.images = np.concatenate(videos)
        self.joint = np.concatenate(joints)
        self.done = np.concatenate(
            [item.done(len(images)) for item, images in zip(chosen, videos, strict=True)]
        )
        """Whether an episode's own task is done at each frame, 0 or 1; NaN where only its end is known."""
        self.success = np.array([self._succeeded(number, item) for number, item in enumerate(chosen)])

    def __len__(self) -> int:
        return len(self.lengths)

    def final_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Every episode with its true final frame: (episode (e,), frame (e,))."""
        return np.arange(len(self)), self.lengths - 1

    def all_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Every frame that can serve as a final one: (episode (m,), frame (m,)).

        Where the joint position, or the outcome at every frame, is known these are all frames, elsewhere the last one,
        with early negatives also the early ones of a success.
        """
        episode = np.repeat(np.arange(len(self)), self.lengths)
        frame = np.arange(len(episode)) - self.starts[episode]
        usable = frame == self.lengths[episode] - 1
        if all(goal.threshold is not None for goal in self.config.goals):
            usable |= np.isfinite(self.joint)
        usable |= self._is_early(episode, frame) | np.isfinite(self.done)
        return episode[usable], frame[usable]

    def near_change(self, episode: np.ndarray, frame: np.ndarray, distance: int = 2) -> np.ndarray:
        """Whether the task becomes done, or undone, within ``distance`` frames of the given ones, bool (m,)."""
        begins = self.starts[episode]
        here, ends = begins + frame, begins + self.lengths[episode] - 1
        done = np.nan_to_num(self.done, nan=-1.0)
        moments = [np.clip(here + step, begins, ends) for step in range(-distance, distance + 1)]
        return np.any([done[moment] != done[here] for moment in moments], axis=0)

    def clips(self, episode: np.ndarray, frame: np.ndarray) -> Clips:
        """The given episodes as if they had ended at the given frames."""
        index = np.array(
            [
                [start + seen for seen in judged_frames(final + 1, self.config.recent)]
                for start, final in zip(self.starts[episode].tolist(), frame.tolist(), strict=True)
            ]
        )
        joint = self.joint[index[:, -1]]
        reached, known = self._truth(episode, frame, joint)
        return Clips(self.images[index], joint, reached, known)

    def reaches_its_goal(self, episode: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Whether the given frames, played as final ones, are successes of their own instruction, bool (m)."""
        joint = self.joint[self.starts[episode] + frame]
        return self._truth(episode, frame, joint)[0][np.arange(len(episode)), self.goals[episode]]

    def truth(self, episode: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which goals the given frames, played as final ones, reach, and where that is known, bool (m, goals) each."""
        return self._truth(episode, frame, self.joint[self.starts[episode] + frame])

    def _truth(
        self, episode: np.ndarray, frame: np.ndarray, joint: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which goals are reached and where that is known, bool (m, goals) each."""
        reached = np.zeros((len(episode), len(self.config.goals)), bool)
        known = np.zeros_like(reached)
        last = frame == self.lengths[episode] - 1
        early = self._is_early(episode, frame)
        done = self.done[self.starts[episode] + frame]
        others = self.early is not None and self.early.other_tasks
        for number, goal in enumerate(self.config.goals):
            if goal.threshold is not None:
                measured = np.isfinite(joint)
                reached[measured, number], known[measured, number] = goal.reached(joint[measured]), True
            own = self.goals[episode] == number
            known[early & own, number] = True
            told = own & np.isfinite(done)
            reached[told, number], known[told, number] = done[told] == 1, True
            if others:
                known[last & ~own & self.success[episode], number] = True
            ended = last & own
            reached[ended, number], known[ended, number] = self.success[episode[ended]], True
        return reached, known

    def _is_early(self, episode: np.ndarray, frame: np.ndarray) -> np.ndarray:
        if self.early is None:
            return np.zeros(len(episode), bool)
        begun = frame < self.early.until * (self.lengths[episode] - 1)
        return np.asarray(begun & self.success[episode] & ~self.generated[episode])

    def _chosen(self, episode: Episode, measured: bool) -> Episode | None:
        if episode.known is not None or (measured and not episode.generated and not episode.label):
            return episode
        if self.early is None or episode.generated or episode.label:
            return None
        self.assumed += 1
        return episode

    def _succeeded(self, number: int, episode: Episode) -> bool:
        if episode.known is not None:
            return episode.known
        goal, joint = (
            self.config.goals[self.goals[number]],
            self.joint[self.starts[number] :][: self.lengths[number]],
        )
        return True if goal.threshold is None else bool(goal.reached(joint[-1]))


def dataset_goals(
    folders: Sequence[Path | str],
    measured: MeasuredGoals | None,
    labels: Mapping[str, str] | None = None,
    both_kinds: bool = False,
) -> tuple[Goal, ...]:
    """The goals of the instructions of dataset and run folders.

    Those of ``measured`` where it knows every instruction and every recorded episode holds its joint position; else
    one goal per instruction, decided by the recorded outcome. With ``both_kinds`` only instructions that have a
    success and a failure, since a judge that saw one kind always answers with it; the others are named in a warning.

    Raises ValueError if no instruction is left.
    """
    episodes = find_episodes(folders, labels)
    recorded = [episode for episode in episodes if not episode.generated]
    if measured is not None and recorded:
        known = {normal_instruction(goal.instruction) for goal in measured.goals}
        instructions = {episode.instruction for episode in episodes}
        held = (measured.joint in read_npz(item.path, [], optional=[measured.joint]) for item in recorded)
        if instructions <= known and all(held):
            return measured.goals
    wanted = sorted(
        {item.instruction for item in recorded}
        | {item.instruction for item in episodes if item.known is not None}
    )
    if both_kinds:
        kinds = {(episode.instruction, episode.known) for episode in episodes}
        one_sided = [name for name in wanted if not {(name, True), (name, False)} <= kinds]
        wanted = [name for name in wanted if name not in one_sided]
        if one_sided and wanted:
            logger.warning(
                "%d instruction(s) have no success or no failure among the known outcomes and are left out, first %r; "
                "label more of their episodes",
                len(one_sided), one_sided[0],
            )  # fmt: skip
    if not wanted:
        successes, failures = (sum(item.known is kind for item in episodes) for kind in (True, False))
        early = "take the episodes as demonstrations (--negatives early)"
        remedy = early if failures < len(episodes) else "add episodes that succeed"
        raise ValueError(
            f"{', '.join(map(str, folders))}: of {len(episodes)} episodes {successes} are known successes and "
            f"{failures} known failures, and no instruction has both; give labels, or {remedy}"
        )
    return tuple(Goal(instruction) for instruction in wanted)


def near_threshold(joint: np.ndarray, goals: tuple[Goal, ...], distance: float) -> np.ndarray:
    """True where a joint position lies within ``distance`` metres of any goal's threshold."""
    thresholds = [goal.threshold for goal in goals if goal.threshold is not None]
    near = np.zeros(np.shape(joint), bool)
    for threshold in thresholds:
        near |= np.abs(np.asarray(joint) - threshold) < distance
    return near


def _check_size(images: np.ndarray, episode: Episode, config: ClassifierConfig) -> None:
    if images.shape[1:3] != config.image_size:
        raise ValueError(
            f"{episode.path} has images of {images.shape[1]} x {images.shape[2]} pixels, the classifier expects "
            f"{config.image_size[0]} x {config.image_size[1]}; choose another image_size or resize them"
        )
