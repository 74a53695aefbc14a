"""What a policy is trained on: frames of recorded episodes, and the action tokens it shall give for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from real2sim.actions import FIELDS, WIDTH, ActionBounds, rt1_robot
from real2sim.checks import check_finite, check_whole
from real2sim.episodes.keep_out import for_training
from real2sim.episodes.npz import EXPERT_LABELS_FILE, dataset_files, expert_labels, read_npz
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.instructions import add_embedding
from real2sim.robot import Robot, read_robot

MOST = 100.0
"""Largest noise, in largest steps, and largest factor on what a teacher does; beyond it all labels are the limits."""
LATEST = 1000
"""Most steps by which labels come too late."""


@dataclass(frozen=True)
class Demonstrations:
    """Which episodes of a dataset folder teach the policy, and what they teach."""

    folder: Path
    """Dataset folder: one npz file per episode, e.g. from `real2sim convert rlds`."""
    labels: str = "recorded"
    """``recorded``: imitate the actions that were taken. ``expert``: in each visited state imitate what the
    scripted expert of each task would have done there (the dataset must hold these labels)."""
    tasks: tuple[str, ...] = ()
    """Tasks to learn; all if empty."""
    episodes: int | None = None
    """How many episodes to use, the first ones of a fixed shuffle; all if empty."""
    controllers: tuple[str, ...] = ()
    """Only episodes of these controllers; all if empty."""
    successful: bool = False
    """Only episodes that ended in success."""
    label_noise: float = 0.0
    """Standard deviation of noise added once to each hand displacement, as a share of the largest step."""
    action_scale: float = 1.0
    """Factor on each hand displacement: a teacher that is too timid or too bold."""
    action_delay: int = 0
    """Steps by which the labels come too late: a teacher with slow reactions."""
    seed: int = 0
    """Seed of the shuffle and of the noise."""

    def __post_init__(self) -> None:
        if self.labels not in ("recorded", "expert"):
            raise ValueError(f"labels must be 'recorded' or 'expert', got {self.labels!r}")
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {self.episodes}")
        check_finite("label_noise", self.label_noise, 0, MOST)
        check_finite("action_scale", self.action_scale, -MOST, MOST)
        check_whole("action_delay", self.action_delay, 0, LATEST)

    @property
    def expert_labels(self) -> dict[str, tuple[str, str]]:
        """Task -> its instruction and the array with what its expert would do, for the tasks to learn.

        They stand in ``expert_labels.json`` of the dataset; ValueError where it does not name a task.
        """
        known = expert_labels(Path(self.folder))
        missing = [task for task in self.tasks if task not in known]
        if missing:
            raise ValueError(
                f"there are no expert labels for task {missing[0]!r} in {Path(self.folder) / EXPERT_LABELS_FILE}; "
                f"known: {', '.join(known) or 'none'}"
            )
        return {task: known[task] for task in self.tasks or known}


@dataclass(frozen=True)
class Demonstration:
    """One episode as seen under one instruction."""

    frames: int
    """Index into `DemonstrationSet.frames`."""
    instruction: str
    tokens: np.ndarray
    """Action tokens (t tokens) uint8, one row for each frame that has a label."""


@dataclass(frozen=True)
class DemonstrationSet:
    """All demonstrations in memory: ``frames[i]`` is uint8 (t h w 3)."""

    frames: list[np.ndarray]
    demonstrations: list[Demonstration]
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    """Sentence embeddings by instruction, where the episodes have them."""

    @property
    def instructions(self) -> tuple[str, ...]:
        """Each instruction once, sorted."""
        return tuple(sorted({demonstration.instruction for demonstration in self.demonstrations}))

    def windows(
        self, rng: np.random.Generator, count: int, length: int
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Random windows: frames uint8 (count length h w 3), instructions, tokens int64 (count length tokens)."""
        chosen = [self.demonstrations[i] for i in rng.integers(len(self.demonstrations), size=count)]
        starts = [int(rng.integers(len(demonstration.tokens) - length + 1)) for demonstration in chosen]
        cuts = [
            (demonstration, slice(start, start + length))
            for demonstration, start in zip(chosen, starts, strict=True)
        ]
        return (
            np.stack([self.frames[item.frames][cut] for item, cut in cuts]),
            [demonstration.instruction for demonstration in chosen],
            np.stack([item.tokens[cut] for item, cut in cuts]).astype(np.int64),
        )


def load_demonstrations(what: Demonstrations, config: RT1Config) -> DemonstrationSet:
    """Read the episodes of ``what``; each must have at least ``config.history`` labelled frames."""
    if config.vocabulary > 256:
        raise ValueError(
            f"tokens are kept as bytes: the vocabulary must not exceed 256, got {config.vocabulary}"
        )
    files = for_training(dataset_files(Path(what.folder)))
    robot = read_robot(Path(what.folder)) or rt1_robot()
    if config.action and (what.label_noise or what.action_scale != 1):
        raise ValueError(
            f"label_noise and action_scale change RT-1's hand displacement, robot {robot.name!r} of {what.folder} has "
            f"{', '.join(robot.action_names)}; leave them out"
        )
    names = wanted_arrays(what)
    # A lot per file name, so that a dataset that has grown gives mostly the same episodes.
    files.sort(key=lambda file: np.random.default_rng([what.seed, 0, *file.name.encode()]).random())
    frames: list[np.ndarray] = []
    demonstrations: list[Demonstration] = []
    embeddings: dict[str, np.ndarray] = {}
    for file in files:
        if what.episodes is not None and len(frames) == what.episodes:
            break
        episode = read_npz(file, names, optional=["embedding"])
        if not wanted(episode, what):
            continue
        check_one_size(frames, episode["image"], file)
        noise = np.random.default_rng([what.seed, 1, *file.name.encode()])
        for instruction, actions in labelled_actions(episode, what, robot).items():
            taught = flawed(actions, what, config.bounds, noise)
            tokens = config.tokens_of(taught)
            if len(tokens) < config.history:
                raise ValueError(
                    f"{file} has {len(tokens)} labelled frames, the policy looks at {config.history} "
                    "(network.history); leave the episode out or choose a shorter history"
                )
            demonstrations.append(Demonstration(len(frames), instruction, tokens.astype(np.uint8)))
        frames.append(episode["image"])
        if what.labels == "recorded" and "embedding" in episode:
            add_embedding(embeddings, str(episode["instruction"]), episode["embedding"])
    if what.episodes is not None and len(frames) < what.episodes:
        raise ValueError(
            f"{what.folder} has {len(frames)} episodes of the wanted kind, {what.episodes} were asked for"
        )
    if not frames:
        raise ValueError(f"none of the {len(files)} episodes in {what.folder} is of the wanted kind")
    return DemonstrationSet(frames, demonstrations, embeddings)


def check_one_size(frames: Sequence[np.ndarray], image: np.ndarray, file: Path) -> None:
    """Raise a ValueError unless the frames of ``file`` are as large as those that were read before."""
    if frames and image.shape[1:3] != frames[0].shape[1:3]:
        (height, width), (first, second) = image.shape[1:3], frames[0].shape[1:3]
        raise ValueError(
            f"{file} has frames of {height} x {width} pixels, others of {file.parent} have {first} x {second}; "
            "one size is needed"
        )


def wanted_arrays(what: Demonstrations) -> list[str]:
    """Names of the arrays of an episode that are needed to choose and label it."""
    names = ["image", "action", "instruction"]
    names += [array for _, array in what.expert_labels.values()] if what.labels == "expert" else []
    names += ["task"] if what.labels == "recorded" and what.tasks else []
    names += ["controller"] if what.controllers else []
    names += ["success"] if what.successful else []
    return names


def wanted(episode: Mapping[str, np.ndarray], what: Demonstrations) -> bool:
    """Whether an episode is one of those that are asked for."""
    if what.controllers and str(episode["controller"]) not in what.controllers:
        return False
    if what.successful and not bool(episode["success"]):
        return False
    return what.labels == "expert" or not what.tasks or str(episode["task"]) in what.tasks


def labelled_actions(
    episode: Mapping[str, np.ndarray], what: Demonstrations, robot: Robot
) -> dict[str, np.ndarray]:
    """Instruction -> actions (t n), or (t K n) for K actions per frame."""
    if what.labels == "recorded":
        actions = episode["action"]
        # The last action leads to no frame; it counts only if it says that the episode ends.
        ends = len(actions) > 0 and _ends(actions[-1], robot)
        return {str(episode["instruction"]): actions if ends else actions[:-1]}
    return {instruction: episode[array] for instruction, array in what.expert_labels.values()}


def _ends(action: np.ndarray, robot: Robot) -> bool:
    """Whether the actions of a frame ask to end the episode."""
    return bool(robot.terminates(robot.per_frame(action)).any())


def flawed(
    actions: np.ndarray, what: Demonstrations, bounds: ActionBounds, rng: np.random.Generator
) -> np.ndarray:
    """Actions of a teacher that is slow, timid or noisy, as ``what`` says."""
    actions = np.array(actions, dtype=np.float32)
    if what.action_delay:
        delay = min(what.action_delay, len(actions))
        actions = np.concatenate([np.repeat(actions[:1], delay, axis=0), actions[: len(actions) - delay]])
    if actions.shape[1:] != (WIDTH,) or not (what.label_noise or what.action_scale != 1):
        return actions
    move = actions[:, FIELDS["world_vector"]] * what.action_scale
    move = move + rng.normal(0, what.label_noise * bounds.world_vector[1], move.shape)
    actions[:, FIELDS["world_vector"]] = move
    return actions
