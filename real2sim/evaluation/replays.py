"""Held-out recordings drawn again by a world model, each to its own length, and how far the frames are off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.episodes.states import measured_at
from real2sim.metrics.prediction import episode_seeds
from real2sim.robot import Robot
from real2sim.simulation.contracts import World
from real2sim.simulation.suite import Start, Task

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 2
"""Episodes without which there are no intervals."""


@dataclass(frozen=True)
class Replay:
    """A recorded episode and the video that the world model drew from its first frame and its actions."""

    name: str
    instruction: str
    recorded: np.ndarray
    """uint8 (t+1 h w 3)."""
    actions: np.ndarray
    """float32 (t n) or (t K n)."""
    success: bool | None
    """What was recorded of the outcome."""
    drawn: np.ndarray
    """uint8 (t+1 h w 3), the recorded first frame first."""


def draw_replays(
    world: World, robot: Robot, data: Path, episodes: int, batch: int = 16, seed: int = 0
) -> list[Replay]:
    """The first ``episodes`` recordings of a dataset folder drawn again, ``batch`` together."""
    found: list[tuple[Path, dict[str, np.ndarray], Start]] = []
    for path in dataset_files(data):
        episode = read_npz(
            path, ["image", "action"], ["instruction", "success", "state", "environment_state"]
        )
        if len(episode["image"]) < 2:
            continue
        told = str(episode.get("instruction", ""))
        measured = measured_at(path, episode, 0)
        start = Start(Task(told or "task", told or "task"), path.stem, episode["image"][0], measured=measured)
        found.append((path, episode, start))
        if len(found) == episodes:
            break
    if len(found) < FEWEST:
        raise ValueError(
            f"{data} holds {len(found)} episodes of two frames or more, expected at least {FEWEST}; hold some "
            "recordings back from training"
        )
    # Lanes of about the same length, so that few frames are drawn in vain.
    found.sort(key=lambda item: len(item[1]["image"]))
    seeds = episode_seeds(seed, len(found))
    replays = []
    for first in tqdm(range(0, len(found), batch), desc="replays", unit="batch"):
        group = found[first : first + batch]
        actions = [
            episode["action"][: len(episode["image"]) - 1].astype(np.float32) for _, episode, _ in group
        ]
        drawn = _drawn(
            world, robot, [start for *_, start in group], actions, seeds[first : first + len(group)]
        )
        for (path, episode, _), executed, video in zip(group, actions, drawn, strict=True):
            success = bool(episode["success"]) if "success" in episode else None
            replays.append(
                Replay(
                    path.stem, str(episode.get("instruction", "")), episode["image"], executed, success, video
                )
            )
    return replays


def _drawn(
    world: World, robot: Robot, starts: list[Start], actions: list[np.ndarray], seeds: list[int]
) -> list[np.ndarray]:
    """Videos (t+1 h w 3) of lanes whose actions may end at different steps."""
    longest = max(map(len, actions))
    padded = np.stack(
        [np.concatenate([own, np.repeat(own[-1:], longest - len(own), axis=0)]) for own in actions]
    )
    numbers, frames = robot.per_frame(padded), [np.stack([start.frame for start in starts])]
    state = world.reset(starts, seeds)
    for step in range(longest):
        drawn, state = world.step(state, numbers[:, step])
        frames.append(drawn)
    videos = np.stack(frames, axis=1)
    return [video[: len(own) + 1] for video, own in zip(videos, actions, strict=True)]


def frame_error(replays: Sequence[Replay]) -> pd.DataFrame:
    """Per step: mean PSNR of drawn frames and of the repeated start frame, and the interval of their difference."""
    import pandas as pd
    from scipy.stats import t

    from real2sim.metrics.frames import squared_error

    def decibels(recorded: np.ndarray, other: np.ndarray) -> np.ndarray:
        # Half a grey level is what rounding costs; equal frames are no better than that.
        return 10 * np.log10(255.0**2 / (squared_error(recorded[None], other[None])[0] + 1 / 12))

    rows = []
    for replay in replays:
        recorded = replay.recorded[1 : len(replay.drawn)]
        still = np.repeat(replay.recorded[:1], len(recorded), axis=0)
        drawn = decibels(recorded, replay.drawn[1:])
        for step, values in enumerate(zip(drawn, decibels(recorded, still), strict=True), start=1):
            rows.append((step, *values))
    table = pd.DataFrame(rows, columns=["step", "drawn", "still"])
    table["gain"] = table["drawn"] - table["still"]
    out = table.groupby("step").agg(
        episodes=("drawn", "size"), drawn=("drawn", "mean"), still=("still", "mean"), gain=("gain", "mean"),
        spread=("gain", "std"),
    ).reset_index()  # fmt: skip
    half = t.ppf(0.975, np.maximum(out["episodes"] - 1, 1)) * out["spread"] / np.sqrt(out["episodes"])
    out["low"], out["high"] = out["gain"] - half, out["gain"] + half
    return out.drop(columns=["spread", "gain"])
