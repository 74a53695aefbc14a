"""Training of the learned judge on episodes with known outcomes."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn import functional

from real2sim.episodes.npz import dataset_robot
from real2sim.model_folder import write_folder
from real2sim.success.calibration import PlattScaling, fit_platt
from real2sim.success.card import classifier_card
from real2sim.success.classifier import KIND, ClassifierConfig, OutcomeNetwork, SuccessClassifier, to_network
from real2sim.success.degradation import DegradationConfig, degrade
from real2sim.success.goals import MeasuredGoals
from real2sim.success.outcomes import Outcomes, dataset_goals, near_threshold
from real2sim.success.unlikeness import SMALLEST_FIT, Unlikeness, fit_unlikeness
from real2sim.training.loop import run_training, trained_weights
from real2sim.training.optimisation import Optimisation

logger = logging.getLogger(__name__)

FREE_SETTINGS = ("out", "snapshot_every", "max_minutes", "device")
"""Settings that may change when a training is continued."""


@dataclass(frozen=True)
class ClassifierTraining:
    """Train a success classifier on episodes with known outcomes."""

    data: tuple[Path, ...]
    """Dataset folders (npz episodes)."""
    out: Path
    """Folder for log, checkpoint and, in the end, the model (``out/model``); an unfinished one is continued."""
    # Goals are easier to write in Python than as flags.
    classifier: Annotated[ClassifierConfig | None, tyro.conf.Suppress] = None
    """Size of the network and its goals; by default one goal per instruction of the data."""
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    """Defects of generated frames that training imitates."""
    steps: int = 2500
    """Optimiser steps."""
    batch: int = 48
    """Clips per step and process."""
    learning_rate: float = 2e-3
    """Peak rate of AdamW; warmed up for 100 steps, then a cosine to zero."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    joint_weight: float = 20.0
    """Weight of the joint's error (in units of its travel) beside the cross-entropy."""
    near: float = 0.02
    """Frames whose joint is this close to a threshold, in metres, are drawn three times as often."""
    calibration_share: float = 0.1
    """Share of the episodes that are kept from training and used to fit the calibration."""
    average: float = 0.995
    """Decay of the running average of the weights, which is what is stored."""
    seed: int = 0
    """Seed of the weights, the batches and the split."""
    snapshot_every: int = 250
    """Steps between checkpoints from which a stopped training continues."""
    max_minutes: float = math.inf
    """Stop after this time; run the same command again to resume."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to train; ``auto`` takes a GPU if there is one."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.snapshot_every < 1:
            raise ValueError("steps, batch and snapshot_every must be at least 1")
        if not 0 < self.calibration_share < 1:
            raise ValueError(f"calibration_share must lie between 0 and 1, got {self.calibration_share}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must lie in [0, 1), got {self.average}")

    @property
    def optimisation(self) -> Optimisation:
        """The settings of the training loop."""
        return Optimisation(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=100,
            decay_from=0.0,
            betas=(0.9, 0.999),
            weight_decay=self.weight_decay,
            ema=self.average,
            seed=self.seed,
            device=self.device,
            checkpoint_every=self.snapshot_every,
            log_every=50,
        )


def train_classifier(
    config: ClassifierTraining, measured: MeasuredGoals | None = None
) -> SuccessClassifier | None:
    """Train, calibrate and store a judge, or continue what ``config.out`` holds; None if the time ran out before.

    ``measured`` are goals that a joint position decides, used where the data holds it (see `dataset_goals`).

    Raises ValueError where ``out`` holds a training with other settings.
    """
    task = OutcomeTraining(config, measured)
    if not run_training(task, config.optimisation, config.out, config.max_minutes):
        return None
    judge, folder = _calibrated(task), config.out / "model"
    if not PartialState().is_main_process:
        return judge
    _export(task, judge, folder)
    logger.info("the judge is in %s", folder)
    return SuccessClassifier.from_folder(folder)


def split_episodes(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Episode numbers for training and for calibration; both hold at least one."""
    if count < 2:
        raise ValueError(f"found {count} episode(s), expected at least 2: one to train on, one to calibrate")
    order = np.random.default_rng([seed, 2**32]).permutation(count)
    kept = min(count - 1, max(1, round(share * count)))
    return np.sort(order[kept:]), np.sort(order[:kept])


class OutcomeTraining:
    """A new judge and the episodes it learns from, for the training loop."""

    extra_modules: Mapping[str, nn.Module] = MappingProxyType({})
    fixed_settings = tuple(
        item.name for item in dataclasses.fields(ClassifierTraining) if item.name not in FREE_SETTINGS
    )

    def __init__(self, config: ClassifierTraining, measured: MeasuredGoals | None = None) -> None:
        self.config = config
        self.network_config = config.classifier or ClassifierConfig(
            goals=dataset_goals(config.data, measured),
            image_size=dataset_robot(config.data[0]).canvas_size,
        )
        joint = [] if measured is None else [measured.joint]
        self.outcomes = Outcomes(config.data, self.network_config, *joint)
        self.training, self.calibrating = split_episodes(
            len(self.outcomes), config.calibration_share, config.seed
        )
        self._clips = _clip_weights(self.outcomes, self.training, config.near)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = OutcomeNetwork(self.network_config)

    @property
    def trained(self) -> OutcomeNetwork:
        return self.model

    def settings(self) -> Mapping[str, Any]:
        values = {name: getattr(self.config, name) for name in self.fixed_settings}
        return {**values, "classifier": self.network_config}

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        config = self.config
        episodes, frames, weights = self._clips
        picked = rng.choice(len(weights), config.batch, p=weights)
        clips = self.outcomes.clips(episodes[picked], frames[picked])
        seen = degrade(to_network(clips.frames), config.degradation, _generator(rng))
        device = self.model.joint.weight.device
        joint, logits = network(seen.to(device))
        reached, known, truth = (
            torch.from_numpy(values).to(device) for values in (clips.reached, clips.known, clips.joint)
        )
        verdict_loss = outcome_loss(logits, reached, known)
        joint_loss = joint_error(joint, truth, self.network_config.joint_range)
        loss = verdict_loss + config.joint_weight * joint_loss
        return {"loss": loss, "verdict": verdict_loss, "joint": joint_loss}


def outcome_loss(logits: Tensor, reached: Tensor, known: Tensor) -> Tensor:
    """Mean cross-entropy of the verdicts (b, goals) whose truth is known; 0 where none is."""
    losses = functional.binary_cross_entropy_with_logits(logits, reached.float(), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def joint_error(joint: Tensor, truth: Tensor, travel: float) -> Tensor:
    """Mean Huber loss of the joint (b) in units of its travel, where it is known; linear beyond a tenth."""
    known = torch.isfinite(truth)
    error = functional.huber_loss(joint / travel, truth.nan_to_num() / travel, reduction="none", delta=0.1)
    return (error * known).sum() / known.sum().clamp(min=1)


def calibrate(
    judge: SuccessClassifier,
    outcomes: Outcomes,
    episodes: np.ndarray,
    config: ClassifierTraining,
    limit: int = 4000,
) -> PlattScaling:
    """Platt scaling fitted on degraded clips of episodes that were kept from training.

    Degraded, because the judge's confidence should be right on frames that are not perfect.
    """
    episode, frame = outcomes.all_frames()
    inside = np.flatnonzero(np.isin(episode, episodes))
    inside = np.random.default_rng([config.seed, 2**33]).permutation(inside)[:limit]
    logits, reached = [], []
    for number, chunk in enumerate(np.array_split(inside, math.ceil(len(inside) / 64))):
        clips = outcomes.clips(episode[chunk], frame[chunk])
        with torch.no_grad():
            generator = _generator(np.random.default_rng([config.seed, 2**33 + number]))
            _, values = judge.network(degrade(to_network(clips.frames), config.degradation, generator))
        logits.append(values.double().numpy()[clips.known])
        reached.append(clips.reached[clips.known])
    return fit_platt(np.concatenate(logits), np.concatenate(reached))


def _calibrated(task: OutcomeTraining) -> SuccessClassifier:
    """A judge with the averaged weights of the last checkpoint, calibrated."""
    network = copy.deepcopy(task.model).cpu()
    network.load_state_dict(trained_weights(task.config.out)[0])
    raw = SuccessClassifier(task.network_config, network)
    scaling = calibrate(raw, task.outcomes, task.calibrating, task.config)
    return SuccessClassifier(dataclasses.replace(task.network_config, calibration=scaling), network)


def _export(task: OutcomeTraining, judge: SuccessClassifier, folder: Path) -> None:
    """Write a calibrated judge as a model folder."""
    config, network = task.config, judge.network
    counts = len(task.training), len(task.calibrating)
    seconds = float(trained_weights(config.out)[1]["seconds"])
    card = classifier_card(config, judge.config, network, counts, seconds)
    write_folder(folder, KIND, judge.config, network.state_dict(), card, half=True)
    if len(task.outcomes) < SMALLEST_FIT:
        logger.warning(
            "%d episodes are too few to know real frames by (%d are needed): the judge also answers on frames unlike "
            "any it was taught",
            len(task.outcomes),
            SMALLEST_FIT,
        )
    else:
        measure_unlikeness(task.outcomes, config.degradation, config.seed).save(folder)


def measure_unlikeness(outcomes: Outcomes, degradation: DegradationConfig, seed: int = 0) -> Unlikeness:
    """What real episodes look like, each as if it had ended at its last frame or at a random one before it.

    ``degradation`` is what the judge was taught to see through.
    """
    rng = np.random.default_rng([seed, 2**34])
    episodes, last = outcomes.final_frames()
    early = rng.integers(outcomes.lengths)
    frames = np.where(rng.random(len(last)) < 0.5, last, early)

    def soften(clips: np.ndarray) -> np.ndarray:
        seen = degrade(to_network(clips), degradation, _generator(rng))
        return ((seen.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(2, -1).numpy()

    return fit_unlikeness(outcomes.clips(episodes, frames).frames, seed=seed, soften=soften)


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def _clip_weights(
    outcomes: Outcomes, training: np.ndarray, near: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes, final frames and probabilities of the clips that training draws from."""
    episode, frame = outcomes.all_frames()
    inside = np.isin(episode, training)
    episode, frame = episode[inside], frame[inside]
    joint = outcomes.joint[outcomes.starts[episode] + frame]
    weights = 1.0 + 2.0 * near_threshold(joint, outcomes.config.goals, near)
    return episode, frame, weights / weights.sum()
