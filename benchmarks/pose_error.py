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

from real2sim.drawer.presets import MEASURED
from real2sim.episodes.npz import dataset_files, read_dataset
from real2sim.episodes.states import read_states
from real2sim.metrics.prediction import predict_rollouts
from real2sim.simulation.suite import load_suite
from real2sim.vid2world.load import MODEL
from real2sim.vid2world.training.perception import Perception, PerceptionConfig, perceptions
from real2sim.vid2world.world_model import WorldModel
from real2sim.worlds import model_folder

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
    perception: PerceptionConfig = PerceptionConfig(targets=MEASURED, networks=1, width=32)
    """The reading network; only its first one is used."""
    world: str = MODEL
    """World model folder; by default the built-in suite's."""
    episodes: int = 150
    lanes: int = 25
    frames: tuple[int, ...] = (1, 5, 10, 20)
    """Which frames of an episode are read; frame 0 is given, so none is drawn for it."""


def pose_errors(config: PoseErrorConfig) -> pd.DataFrame:
    """Mean absolute error in millimetres of what is read from recorded and from drawn frames."""
    network = perceptions(config.perception, config.teach, config.run)[0]
    assert isinstance(network, Perception)
    model = WorldModel.from_folder(model_folder(config.world, load_suite("drawer")))
    dataset = read_dataset(config.data, ("image", "action", "hand", "drawer"), config.episodes)
    measured = np.concatenate([dataset["hand"], dataset["drawer"][..., None]], axis=-1)
    images = dataset["image"]
    files = dataset_files(config.data)[: config.episodes]
    states = read_states(files, model.state_names) if model.state_names else None
    drawn = predict_rollouts(model, images, dataset["action"][:, :-1], batch=config.lanes, states=states)
    rows = []
    for frame in config.frames:
        for kind, frames in (("recorded", images[:, frame]), ("drawn", drawn[:, frame - 1])):
            error = np.abs(network.read(frames) - measured[:, frame]).mean(axis=0)
            millimetres = dict(zip(NAMES, 1000 * error, strict=True))
            rows.append({"frame": frame, "read from": kind, **millimetres})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(pose_errors(tyro.cli(PoseErrorConfig, description=__doc__)).round(1).to_string(index=False))
