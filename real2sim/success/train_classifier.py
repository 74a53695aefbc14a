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

from real2sim.checks import LARGEST_BATCH, check_once, check_whole
from real2sim.episodes.learned_files import learned_files
from real2sim.host_copies import to_device
from real2sim.model_folder import write_folder
from real2sim.success.card import classifier_card
from real2sim.success.classifier import KIND, ClassifierConfig, OutcomeNetwork, SuccessClassifier, to_network
from real2sim.success.degradation import DegradationConfig, degrade
from real2sim.success.evaluate import held_out_quality, store_quality
from real2sim.success.fit import (
    calibrate,
    check_both_kinds,
    clip_weights,
    measure_unlikeness,
    random_generator,
)
from real2sim.success.fit_settings import optimisation_of
from real2sim.success.goals import MeasuredGoals
from real2sim.success.known_outcomes import canvas_size, split_labels
from real2sim.success.labels import episode_labels
from real2sim.success.outcomes import EARLY, EarlyNegatives, Outcomes, dataset_goals
from real2sim.success.unlikeness import SMALLEST_FIT
from real2sim.training.loop import run_training, trained_weights
from real2sim.training.optimisation import Optimisation

logger = logging.getLogger(__name__)

FREE_SETTINGS = ("out", "labels", "heldout", "snapshot_every", "max_minutes", "device")
"""Settings that may change when a training is continued."""


@dataclass(frozen=True)
class ClassifierTraining:
    """Train a success classifier on episodes with known outcomes, or on demonstrations."""

    data: tuple[Path, ...]
    """Dataset folders (npz episodes), and run folders of generated episodes, which need labels."""
    out: Path
    """Folder for log, checkpoint and, in the end, the model (``out/model``); an unfinished one is continued."""
    labels: tuple[Path, ...] = ()
    """CSV files with the columns ``episode`` (file name without .npz, or id in a run) and ``label``; a label stands
    above a recorded outcome."""
    negatives: Literal["recorded", "early"] = "recorded"
    """Where failures come from: ``recorded`` outcomes and labels; or also ``early`` frames of successes and the ends of
    other instructions, which takes episodes without an outcome as demonstrations and leaves a joint aside."""
    early: float = EARLY
    """With ``--negatives early``: frames before this share of a success are called failures."""
    other_tasks: bool = True
    """With ``--negatives early``: call the ends of other instructions failures; turn it off where instructions are
    paraphrases of each other."""
    joint: bool = True
    """Learn thresholds where every recorded episode holds the joint position of the drawer."""
    heldout: tuple[Path, ...] = ()
    """Other dataset and run folders with known outcomes (recorded or in ``labels``) to measure the judge on."""
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
        check_whole("steps", self.steps)
        check_whole("batch", self.batch, 1, LARGEST_BATCH)
        check_whole("snapshot_every", self.snapshot_every)
        if not 0 < self.calibration_share < 1:
            raise ValueError(f"calibration_share must lie between 0 and 1, got {self.calibration_share}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must lie in [0, 1), got {self.average}")
        if not self.data:
            raise ValueError("no dataset was given; name at least one dataset or run folder with --data")
        check_once(data=self.data, heldout=self.heldout)
        if not 0 < self.early < 1:
            raise ValueError(f"early must lie between 0 and 1, got {self.early}")

    @property
    def optimisation(self) -> Optimisation:
        """The settings of the training loop."""
        return optimisation_of(self)


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
    fixed_settings = (
        *(item.name for item in dataclasses.fields(ClassifierTraining) if item.name not in FREE_SETTINGS),
        "outcomes",
    )

    def __init__(self, config: ClassifierTraining, measured: MeasuredGoals | None = None) -> None:
        self.config = config
        from_demonstrations = config.negatives == "early"
        if from_demonstrations or not config.joint:
            measured = None
        self.joint = "joint" if measured is None else measured.joint
        self.labels, self.heldout_labels = split_labels(
            episode_labels(config.labels, [*config.data, *config.heldout]), config.data, config.heldout
        )
        self.network_config = config.classifier or ClassifierConfig(
            goals=dataset_goals(config.data, measured, self.labels, both_kinds=not from_demonstrations),
            image_size=canvas_size(config.data),
        )
        self.outcomes = Outcomes(
            config.data,
            self.network_config,
            self.joint,
            self.labels,
            EarlyNegatives(config.early, config.other_tasks) if from_demonstrations else None,
            skip_others=config.classifier is None,
        )
        self.training, self.calibrating = split_episodes(
            len(self.outcomes), config.calibration_share, config.seed
        )
        self._clips = clip_weights(self.outcomes, self.training, config.near)
        check_both_kinds(self.outcomes, *self._clips[:2], ", ".join(map(str, config.data)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = OutcomeNetwork(self.network_config)

    @property
    def trained(self) -> OutcomeNetwork:
        return self.model

    def settings(self) -> Mapping[str, Any]:
        values = {name: getattr(self.config, name) for name in self.fixed_settings if name != "outcomes"}
        return {**values, "classifier": self.network_config, "outcomes": self.outcomes.digest}

    def learned_files(self) -> list[Path]:
        return learned_files(self.config.data)

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        config = self.config
        episodes, frames, weights = self._clips
        picked = rng.choice(len(weights), config.batch, p=weights)
        clips = self.outcomes.clips(episodes[picked], frames[picked])
        seen = degrade(to_network(clips.frames), config.degradation, random_generator(rng))
        device = self.model.joint.weight.device
        joint, logits = network(to_device(seen, device))
        reached, known, truth = (
            to_device(values, device) for values in (clips.reached, clips.known, clips.joint)
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


def _calibrated(task: OutcomeTraining) -> SuccessClassifier:
    """A judge with the averaged weights of the last checkpoint, calibrated."""
    config = task.config
    network = copy.deepcopy(task.model).cpu()
    network.load_state_dict(trained_weights(config.out)[0])
    raw = SuccessClassifier(task.network_config, network)
    scaling = calibrate(raw, task.outcomes, task.calibrating, config.degradation, config.seed)
    return SuccessClassifier(dataclasses.replace(task.network_config, calibration=scaling), network)


def _export(task: OutcomeTraining, judge: SuccessClassifier, folder: Path) -> None:
    """Write a calibrated judge as a model folder, with its measured quality in the card."""
    config, network, outcomes = task.config, judge.network, task.outcomes
    counts = len(task.training), len(task.calibrating)
    seconds = float(trained_weights(config.out)[1]["seconds"])
    card = classifier_card(config, judge.config, network, counts, seconds, outcomes)
    write_folder(folder, KIND, judge.config, network.state_dict(), card, half=True)
    recorded = int((~outcomes.generated).sum())
    if recorded < SMALLEST_FIT:
        logger.warning(
            "%d recorded episodes are too few to know real frames by (%d are needed): the judge also answers on frames "
            "unlike any it was taught",
            recorded,
            SMALLEST_FIT,
        )
    else:
        measure_unlikeness(outcomes, config.degradation, config.seed).save(folder)
    stored = SuccessClassifier.from_folder(folder)
    quality: dict[str, Any] = {"held_out": held_out_quality(stored, outcomes, task.calibrating)}
    if config.heldout:
        others = Outcomes(config.heldout, judge.config, task.joint, task.heldout_labels, skip_others=True)
        quality["heldout_folders"] = held_out_quality(stored, others, np.arange(len(others)))
    store_quality(folder, quality)
