"""What an imitation policy is trained on: whole episodes in memory, cut into windows when asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from real2sim.actions import ActionBounds, rt1_robot
from real2sim.episodes.keep_out import for_training
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.policies.rt1.demonstrations import (
    Demonstrations,
    check_one_size,
    flawed,
    labelled_actions,
    wanted,
    wanted_arrays,
)
from real2sim.policies.rt1.instructions import add_embedding
from real2sim.robot import read_robot

STATE = "state"


@dataclass(frozen=True)
class Demonstration:
    """One episode as seen under one instruction."""

    episode: int
    """Index into `DemonstrationSet.frames`."""
    instruction: str
    actions: np.ndarray
    """float32 (t K n): for each frame that has a label what leads to the next one."""


@dataclass(frozen=True)
class Windows:
    """A batch of moments; before the first frame of an episode that frame is repeated."""

    frames: np.ndarray
    """uint8 (b t+f-1 h w 3), for a policy that sees f frames at once."""
    state: np.ndarray | None
    """float32 (b t+f-1 m)."""
    instructions: list[str]
    actions: np.ndarray
    """float32 (b t k n): for each moment the next k actions."""
    known: np.ndarray
    """float32 (b t k): 1 where there is an action, 0 after the end of an episode."""


@dataclass(frozen=True)
class DemonstrationSet:
    """All demonstrations: ``frames[i]`` is uint8 (t h w 3), ``states[i]`` float32 (t m)."""

    frames: list[np.ndarray]
    states: list[np.ndarray]
    demonstrations: list[Demonstration]
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    """Sentence embeddings by instruction, where the episodes have them."""

    @property
    def instructions(self) -> tuple[str, ...]:
        """Each instruction once, sorted."""
        return tuple(sorted({item.instruction for item in self.demonstrations}))

    def spread(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (n,) of all actions; the latter is 0 where a number never varies."""
        actions = np.concatenate([item.actions for item in self.demonstrations]).astype(np.float64)
        deviation = actions.std(axis=(0, 1))
        return actions.mean(axis=(0, 1)), np.where(deviation < 1e-6, 0.0, deviation)

    def picture(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean picture (3 h w) and the standard deviation of each colour around it (3 1 1), of at most 1,000 frames.

        A fixed camera's background becomes zero, so that what moves stands out.
        """
        every = max(1, sum(map(len, self.frames)) // 1000)
        chosen = np.concatenate([frames[index % every :: every] for index, frames in enumerate(self.frames)])
        pixels = chosen.transpose(0, 3, 1, 2).astype(np.float32)
        mean = pixels.mean(axis=0)
        return mean, np.maximum((pixels - mean).std(axis=(0, 2, 3)), 1.0)[:, None, None]

    def windows(self, rng: np.random.Generator, count: int, moments: int, frames: int, chunk: int) -> Windows:
        """``count`` random windows of ``moments`` moments; a window begins at any moment that leaves room for the rest,
        or at the first one."""
        chosen = [self.demonstrations[i] for i in rng.integers(len(self.demonstrations), size=count)]
        seen, states, actions, known = [], [], [], []
        for item in chosen:
            length = len(item.actions)
            start = int(rng.integers(max(1, length - moments + 1)))
            rows = np.clip(np.arange(start - frames + 1, start + moments), 0, length - 1)
            seen.append(self.frames[item.episode][rows])
            if self.states:
                states.append(self.states[item.episode][rows])
            per_frame = item.actions.shape[1]
            flat = item.actions.reshape(length * per_frame, -1)
            ahead = per_frame * (start + np.arange(moments))[:, None] + np.arange(chunk)
            actions.append(flat[np.minimum(ahead, len(flat) - 1)])
            known.append(ahead < len(flat))
        return Windows(
            np.stack(seen),
            np.stack(states) if states else None,
            [item.instruction for item in chosen],
            np.stack(actions).astype(np.float32),
            np.stack(known).astype(np.float32),
        )


def load_demonstrations(what: Demonstrations, *, state: int = 0, chunk: int = 1) -> DemonstrationSet:
    """Read the episodes of ``what``; with ``state`` numbers of proprioception per frame, if that is not 0.

    Raises ValueError for labels of single states where chunks are to be learned.
    """
    if what.labels == "expert" and chunk > 1:
        raise ValueError(
            "the labels 'expert' say what to do in a single state, not what to do after that; learn chunks from "
            "the labels 'recorded'"
        )
    files = for_training(dataset_files(Path(what.folder)))
    robot = read_robot(Path(what.folder)) or rt1_robot()
    if robot.action_names != rt1_robot().action_names and (what.label_noise or what.action_scale != 1):
        raise ValueError(
            f"label_noise and action_scale change RT-1's hand displacement, robot {robot.name!r} of {what.folder} has "
            f"{', '.join(robot.action_names)}; leave them out"
        )
    bounds = (
        ActionBounds.of_robot(robot) if robot.action_names == rt1_robot().action_names else ActionBounds()
    )
    names = [*wanted_arrays(what), *([STATE] if state else [])]
    # A lot per file name, so that a dataset that has grown gives mostly the same episodes.
    files.sort(key=lambda file: np.random.default_rng([what.seed, 0, *file.name.encode()]).random())
    found = DemonstrationSet([], [], [])
    for file in files:
        if what.episodes is not None and len(found.frames) == what.episodes:
            break
        episode = read_npz(file, names, optional=["embedding"])
        if not wanted(episode, what):
            continue
        check_one_size(found.frames, episode["image"], file)
        noise = np.random.default_rng([what.seed, 1, *file.name.encode()])
        for instruction, actions in labelled_actions(episode, what, robot).items():
            actions = flawed(actions, what, bounds, noise)
            actions = actions if actions.ndim == 3 else actions[:, None]
            if not len(actions):
                raise ValueError(
                    f"{file} has no action that leads from one frame to the next; leave the episode out or record it "
                    "again"
                )
            found.demonstrations.append(
                Demonstration(len(found.frames), instruction, actions.astype(np.float32))
            )
        found.frames.append(episode["image"])
        if state:
            numbers = np.asarray(episode[STATE], np.float32)
            expected = (len(episode["image"]), state)
            if numbers.shape != expected:
                raise ValueError(f"{file}: state has shape {numbers.shape}, expected {expected}")
            found.states.append(numbers)
        if what.labels == "recorded" and "embedding" in episode:
            add_embedding(found.embeddings, str(episode["instruction"]), episode["embedding"])
    if what.episodes is not None and len(found.frames) < what.episodes:
        raise ValueError(
            f"{what.folder} has {len(found.frames)} episodes of the wanted kind, {what.episodes} were asked for"
        )
    if not found.frames:
        raise ValueError(f"none of the {len(files)} episodes in {what.folder} is of the wanted kind")
    return found
