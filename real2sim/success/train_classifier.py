"""Training of the learned judge, resumable at any moment and independent of where it was interrupted."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from real2sim.files import write_text
from real2sim.model_folder import config_to_dict, write_folder
from real2sim.success.calibration import PlattScaling, fit_platt
from real2sim.success.card import model_card
from real2sim.success.classifier import KIND, ClassifierConfig, OutcomeNetwork, SuccessClassifier, to_network
from real2sim.success.degradation import DegradationConfig, degrade
from real2sim.success.goals import MeasuredGoals
from real2sim.success.outcomes import Outcomes, dataset_goals, near_threshold
from real2sim.success.snapshot import read_snapshot, write_snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassifierTraining:
    """Train a success classifier on episodes with known outcomes."""

    data: tuple[Path, ...]
    """Dataset folders (npz episodes)."""
    out: Path
    """Folder for log, snapshot and, in the end, the model (``out/model``); an unfinished one is continued."""
    # Goals are easier to write in Python than as flags.
    classifier: Annotated[ClassifierConfig | None, tyro.conf.Suppress] = None
    """Size of the network and its goals; by default one goal per instruction of the data."""
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    """Defects of generated frames that training imitates."""
    steps: int = 2500
    """Optimiser steps."""
    batch: int = 48
    """Clips per step."""
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
    """Steps between snapshots."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.snapshot_every < 1:
            raise ValueError("steps, batch and snapshot_every must be at least 1")
        if not 0 < self.calibration_share < 1:
            raise ValueError(f"calibration_share must lie between 0 and 1, got {self.calibration_share}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must lie in [0, 1), got {self.average}")


def train_classifier(config: ClassifierTraining, measured: MeasuredGoals | None = None) -> SuccessClassifier:
    """Train, calibrate and store a judge; a run that was stopped continues from its last snapshot.

    ``measured`` are goals that a joint position decides, used where the data holds it (see `dataset_goals`).

    Raises ValueError where ``out`` holds a snapshot of another configuration.
    """
    shape = config.classifier or ClassifierConfig(goals=dataset_goals(config.data, measured))
    outcomes = Outcomes(config.data, shape, *([] if measured is None else [measured.joint]))
    training, calibrating = split_episodes(len(outcomes), config.calibration_share, config.seed)
    run = TrainingRun(config, shape)
    start = run.resume()
    episodes, frames, weights = _drawing_weights(outcomes, training, config.near)
    config.out.mkdir(parents=True, exist_ok=True)
    log = config.out / "log.jsonl"
    _forget_lines_after(log, start)
    began = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        remaining = range(start, config.steps)
        for step in tqdm(remaining, initial=start, total=config.steps, desc="classifier", unit="step"):
            rng = np.random.default_rng([config.seed, step])
            picked = rng.choice(len(weights), config.batch, p=weights)
            losses = run.step(outcomes, episodes[picked], frames[picked], step)
            if (step + 1) % 50 == 0 or step + 1 == config.steps:
                seconds = round(run.seconds + time.monotonic() - began, 1)
                file.write(json.dumps({"step": step + 1, "seconds": seconds, **losses}) + "\n")
                file.flush()
            if (step + 1) % config.snapshot_every == 0 or step + 1 == config.steps:
                run.save(step + 1, run.seconds + time.monotonic() - began)
    seconds = run.seconds + time.monotonic() - began
    network = run.averaged()
    scaling = calibrate(SuccessClassifier(shape, network), outcomes, calibrating, config)
    judge = SuccessClassifier(dataclasses.replace(shape, calibration=scaling), network)
    card = model_card(config, judge.config, network, len(training), len(calibrating), seconds)
    write_folder(config.out / "model", KIND, judge.config, network.state_dict(), card, half=True)
    logger.info("the judge is in %s", config.out / "model")
    return SuccessClassifier.from_folder(config.out / "model")


def split_episodes(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Episode numbers for training and for calibration; both hold at least one."""
    if count < 2:
        raise ValueError(f"found {count} episode(s), expected at least 2: one to train on, one to calibrate")
    order = np.random.default_rng([seed, 2**32]).permutation(count)
    kept = min(count - 1, max(1, round(share * count)))
    return np.sort(order[kept:]), np.sort(order[:kept])


class TrainingRun:
    """Weights, optimiser and averaged weights, and their snapshot on disk."""

    def __init__(self, config: ClassifierTraining, shape: ClassifierConfig) -> None:
        self.config, self.shape = config, shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = OutcomeNetwork(shape)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.seconds = 0.0
        # Where it is stored and how often a snapshot is taken may change between two starts.
        facts = config_to_dict(dataclasses.replace(config, out=Path(), snapshot_every=1, classifier=shape))
        self.identity = json.dumps(facts, sort_keys=True)

    def step(self, outcomes: Outcomes, episode: np.ndarray, frame: np.ndarray, step: int) -> dict[str, float]:
        """One optimiser step on the given clips; all its randomness comes from (seed, step)."""
        config = self.config
        clips = outcomes.clips(episode, frame)
        generator = _generator(config.seed, step)
        seen = degrade(to_network(clips.frames), config.degradation, generator)
        joint, logits = self.network(seen)
        verdict_loss = outcome_loss(logits, torch.from_numpy(clips.reached), torch.from_numpy(clips.known))
        joint_loss = joint_error(joint, torch.from_numpy(clips.joint), self.shape.joint_range)
        loss = verdict_loss + config.joint_weight * joint_loss
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rate_factor(step, config.steps)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        decay = min(config.average, (1 + step) / (10 + step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)
        return {"verdict": round(verdict_loss.item(), 5), "joint": round(joint_loss.item(), 6)}

    def averaged(self) -> OutcomeNetwork:
        """The network with the running average of its weights."""
        network = copy.deepcopy(self.network)
        network.load_state_dict(self.average)
        return network.eval()

    @property
    def snapshot(self) -> Path:
        """File that holds everything needed to continue."""
        return self.config.out / "snapshot.safetensors"

    def save(self, step: int, seconds: float) -> None:
        """Write the snapshot in one move."""
        facts: dict[str, Any] = {"step": step, "seconds": seconds, "identity": self.identity}
        write_snapshot(self.snapshot, self.network, self.optimizer, self.average, facts)

    def resume(self) -> int:
        """Load the snapshot if there is one and return the number of steps it has behind it."""
        if not self.snapshot.is_file():
            return 0
        facts, average = read_snapshot(self.snapshot, self.network, self.optimizer, self.identity)
        self.average = average
        self.seconds = float(facts["seconds"])
        return int(facts["step"])


def outcome_loss(logits: Tensor, reached: Tensor, known: Tensor) -> Tensor:
    """Mean cross-entropy of the verdicts (b, goals) whose truth is known; 0 where none is."""
    losses = functional.binary_cross_entropy_with_logits(logits, reached.float(), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def joint_error(joint: Tensor, truth: Tensor, travel: float) -> Tensor:
    """Mean Huber loss of the joint (b) in units of its travel, where it is known; linear beyond a tenth."""
    known = torch.isfinite(truth)
    error = functional.huber_loss(joint / travel, truth.nan_to_num() / travel, reduction="none", delta=0.1)
    return (error * known).sum() / known.sum().clamp(min=1)


def rate_factor(step: int, steps: int, warmup: int = 100) -> float:
    """Share of the peak learning rate: a linear start, then a cosine that ends at zero."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


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
            generator = _generator(config.seed, 2**33 + number)
            _, values = judge.network(degrade(to_network(clips.frames), config.degradation, generator))
        logits.append(values.double().numpy()[clips.known])
        reached.append(clips.reached[clips.known])
    return fit_platt(np.concatenate(logits), np.concatenate(reached))


def _generator(seed: int, step: int) -> torch.Generator:
    (word,) = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(word >> np.uint64(1)))


def _drawing_weights(
    outcomes: Outcomes, training: np.ndarray, near: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    episode, frame = outcomes.all_frames()
    inside = np.isin(episode, training)
    episode, frame = episode[inside], frame[inside]
    joint = outcomes.joint[outcomes.starts[episode] + frame]
    weights = 1.0 + 2.0 * near_threshold(joint, outcomes.config.goals, near)
    return episode, frame, weights / weights.sum()


def _forget_lines_after(log: Path, step: int) -> None:
    """Drop what was logged after the snapshot that training continues from."""
    if log.is_file():
        lines = log.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_text(log, "".join(line + "\n" for line in kept))
