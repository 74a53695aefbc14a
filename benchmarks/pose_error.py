"""What drawn frames say about the place of the hand: a network that was taught on recorded frames reads both.

    python -m benchmarks.pose_error --data data/heldout --teach data/judge --run runs/pose

The actions of recorded episodes are replayed in a world model from their first frames.  A policy that is shown a drawn
frame believes the hand to be where such a network finds it.  The network is taught on ``--teach``, which should be
data that the world model has not seen either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro

from real2sim.episodes.npz import read_dataset
from real2sim.evaluation.suite import load_suite
from real2sim.evaluation.worlds import MODEL, model_folder
from real2sim.vid2world.perception import Perception, PerceptionConfig, perceptions
from real2sim.vid2world.world_model import WorldModel

NAMES = ("hand x", "hand y", "hand z", "drawer")


@dataclass(frozen=True)
class PoseErrorConfig:
    """Compare poses read from drawn frames with measured ones."""

    data: Path
    """Dataset folder whose episodes are replayed."""
    teach: Path
    """Dataset folder on which the reading network is taught."""
    run: Path
    """Folder that keeps the reading network."""
    world: str = MODEL
    """World model folder; by default the built-in suite's."""
    episodes: int = 150
    lanes: int = 25
    frames: tuple[int, ...] = (1, 5, 10, 20)
    """Which frames of an episode are read."""


def pose_errors(config: PoseErrorConfig) -> pd.DataFrame:
    """Mean absolute error in millimetres of what is read from recorded and from drawn frames."""
    network = perceptions(PerceptionConfig(networks=1, width=32), config.teach, config.run)[0]
    assert isinstance(network, Perception)
    model = WorldModel.from_folder(model_folder(config.world, load_suite("drawer")))
    dataset = read_dataset(config.data, ("image", "action", "hand", "drawer"), config.episodes)
    measured = np.concatenate([dataset["hand"], dataset["drawer"][..., None]], axis=-1)
    drawn = replay(model, dataset["image"][:, 0], dataset["action"], config.lanes)
    rows = []
    for frame in config.frames:
        for kind, frames in (("recorded", dataset["image"]), ("drawn", drawn)):
            error = np.abs(network.read(frames[:, frame]) - measured[:, frame]).mean(axis=0)
            millimetres = dict(zip(NAMES, 1000 * error, strict=True))
            rows.append({"frame": frame, "read from": kind, **millimetres})
    return pd.DataFrame(rows)


def replay(model: WorldModel, starts: np.ndarray, actions: np.ndarray, lanes: int) -> np.ndarray:
    """Frames (e t h w 3) that ``model`` draws for actions (e t 13), after the start frames (e h w 3)."""
    films = []
    for first in range(0, len(starts), lanes):
        chosen = slice(first, first + lanes)
        frames = [starts[chosen]]
        state = model.reset(frames[0], range(first, first + len(frames[0])))
        for time in range(actions.shape[1] - 1):
            shown, state = model.step(state, actions[chosen, time])
            frames.append(shown)
        films.append(np.stack(frames, axis=1))
    return np.concatenate(films)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(pose_errors(tyro.cli(PoseErrorConfig, description=__doc__)).round(1).to_string(index=False))
