"""Trainings that begin with the weights of a world model instead of random ones (fine-tuning)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from real2sim.vid2world.training.robot_fit import fit_to_dataset
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig

if TYPE_CHECKING:
    from real2sim.vid2world.training.windows import WindowSource

Learned = Literal["all", "states", "frames"]
"""Parts of a world model that a training changes: the prediction of states, what draws frames, or both."""


@dataclass(frozen=True)
class Pretrained:
    """Where a training begins."""

    folder: Path
    model: WorldModel


def read_pretrained(folder: Path, data: Path, learned: Learned) -> Pretrained:
    """The world model in ``folder``, where a training on the dataset folder ``data`` begins.

    Raises ValueError if the dataset's robot is not the model's, or if the model lacks the part that is to be learned.
    """
    model = WorldModel.from_folder(folder)
    if learned != "all" and model.state_head is None:
        raise ValueError(
            f"--learn {learned}: the world model in {folder} predicts no states, so it has one part only; leave the "
            "option out"
        )
    try:
        fitted = fit_to_dataset(model.config, data)
    except ValueError as error:
        raise ValueError(f"--pretrained {folder} does not fit {data}: {error}") from error
    if fitted != model.config:
        raise ValueError(
            f"--pretrained {folder} was trained for another robot than that of {data} (frames of "
            f"{model.config.image_size} and {model.action_width} action numbers against {fitted.image_size} and "
            f"{len(fitted.action_scale)}, or other scales of the actions); choose a model of the same robot"
        )
    return Pretrained(folder, model)


def check_options(
    pretrained: Path | None,
    learned: Learned,
    like: Path | None,
    model: WorldModelConfig,
    robot_state: bool,
    object_state: bool,
) -> None:
    """Raise ValueError for options that contradict each other: another model brings its configuration along."""
    if learned != "all" and pretrained is None:
        raise ValueError(
            f"--learn {learned} keeps the other part of a trained model, and none was given; name its folder with "
            "--pretrained, or leave --learn out"
        )
    given = {"the options of --model": model != WorldModelConfig.small()}
    if pretrained is not None:
        given |= {"--like": like is not None, "--robot-state": robot_state, "--object-state": object_state}
    for option, present in given.items():
        if present and (pretrained is not None or like is not None):
            bringing = "--like" if pretrained is None else "--pretrained"
            raise ValueError(f"{bringing} brings the configuration of its model along; leave {option} out")


def first_model(
    config: WorldModelConfig, source: WindowSource, seed: int, start: Pretrained | None
) -> WorldModel:
    """The model that a training of frames begins with: that of ``start``, or a new one, fitted to frames of the
    dataset."""
    torch.manual_seed(seed)
    model = WorldModel(config)
    if start is None:
        model.first_stage.fit(source.sample(np.random.default_rng(seed)))
    else:
        model.load_state_dict(start.model.state_dict())
    return model
