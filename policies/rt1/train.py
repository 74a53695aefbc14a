"""Behaviour cloning: an RT-1 network learns to name the action tokens of demonstrations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from real2sim.actions import FIELDS
from real2sim.checks import LARGEST_BATCH, check_finite, check_whole
from real2sim.episodes.learned_files import learned_files
from real2sim.host_copies import to_device
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.demonstrations import Demonstrations, DemonstrationSet, load_demonstrations
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.policy import RT1, save_rt1
from real2sim.robot import read_robot
from real2sim.training.augmentation import Augmentation
from real2sim.training.augmentation import augment as augmented
from real2sim.training.loop import run_training
from real2sim.training.optimisation import Optimisation

FREE_SETTINGS = ("out", "keep_every", "max_minutes", "device")
"""Settings that may change when a training is continued."""


@dataclass(frozen=True)
class PolicyTraining:
    """Train an RT-1 policy by behaviour cloning."""

    data: Demonstrations
    out: Path
    """Training folder; an unfinished one is continued."""
    network: RT1Config = field(default_factory=RT1Config.small)
    """Sizes of the network; its action, and frames of the default size, are those of the dataset's robot."""
    steps: int = 1500
    """Optimiser steps."""
    batch: int = 48
    """Windows of ``network.history`` frames per step and process."""
    learning_rate: float = 2e-3
    """Peak; it rises over the first 5 % of the steps and falls to zero along a half cosine."""
    weight_decay: float = 0.01
    smoothing: float = 8.0
    """Standard deviation, in bins, of the target around the labelled bin; 0 is plain cross-entropy."""
    shift: int = 0
    """Augmentation: frames move by up to this many pixels."""
    brightness: float = 0.0
    """Augmentation: brightness changes by up to this share."""
    blur: float = 0.0
    """Augmentation: half of the windows are blurred by a Gaussian of up to this many pixels."""
    noise: float = 0.0
    """Augmentation: pixel noise of a standard deviation up to this share of the full range."""
    embeddings: Path | None = None
    """npz file with one sentence embedding per instruction, as `real2sim convert embeddings` writes it;
    without it the episodes' own, and where they have none a random vector of signs per instruction."""
    save_at: tuple[float, ...] = (1.0,)
    """Shares of the training at which the policy is saved as OUT/at-<percent>; its end always is, as OUT/at-100."""
    keep_every: int = 100
    """Steps between checkpoints from which a stopped training continues."""
    max_minutes: float = math.inf
    """Stop after this time; run the same command again to resume."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to train; ``auto`` takes a GPU if there is one."""

    def __post_init__(self) -> None:
        check_whole("steps", self.steps)
        check_whole("batch", self.batch, 1, LARGEST_BATCH)
        check_whole("keep_every", self.keep_every)
        if not self.save_at or not all(0 < share <= 1 for share in self.save_at):
            raise ValueError(f"save_at holds shares of the training above 0 and up to 1, got {self.save_at}")
        check_finite("smoothing", self.smoothing, 0, 65_536)
        Augmentation(self.shift, self.brightness, self.blur, self.noise)

    @property
    def saved_shares(self) -> tuple[float, ...]:
        """``save_at``, and the end."""
        return tuple(dict.fromkeys((*self.save_at, 1.0)))

    @property
    def optimisation(self) -> Optimisation:
        """The settings of the training loop."""
        warmup = max(1, self.steps // 20)
        return Optimisation(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=warmup,
            decay_from=warmup / self.steps,
            betas=(0.9, 0.999),
            weight_decay=self.weight_decay,
            ema=0.0,
            seed=self.seed,
            device=self.device,
            checkpoint_every=self.keep_every,
            log_every=1,
        )


def train_policy(training: PolicyTraining) -> tuple[Path, ...]:
    """Train, and give the policy folders that exist so far, in the order of ``save_at``, the finished one last.

    A training that is stopped and run again ends with the same weights as one that was not.
    """
    task = BehaviourCloning(training)
    run_training(task, training.optimisation, training.out, training.max_minutes, task.save)
    folders = [checkpoint_folder(training.out, share) for share in training.saved_shares]
    return tuple(folder for folder in folders if folder.is_dir())


class BehaviourCloning:
    """An RT-1 network and the demonstrations it learns from, for the training loop."""

    extra_modules: Mapping[str, nn.Module] = MappingProxyType({})
    fixed_settings = tuple(item.name for item in fields(PolicyTraining) if item.name not in FREE_SETTINGS)

    def __init__(self, training: PolicyTraining) -> None:
        training = replace(training, network=fit_to_dataset(training.network, Path(training.data.folder)))
        self.training, self.robot = training, read_robot(Path(training.data.folder))
        self.demonstrations = load_demonstrations(training.data, training.network)
        self.table = _instructions(training, self.demonstrations)
        torch.manual_seed(training.seed)
        # Batches are few, so the running statistics must follow faster than Keras' 1 % per batch.
        self.model = RT1(training.network, norm_momentum=0.05)
        self._spread = target_spread(training.network, training.smoothing)

    @property
    def trained(self) -> RT1:
        return self.model

    def settings(self) -> Mapping[str, Any]:
        return {name: getattr(self.training, name) for name in self.fixed_settings}

    def learned_files(self) -> list[Path]:
        more = [] if self.training.embeddings is None else [self.training.embeddings]
        return [*learned_files([Path(self.training.data.folder)]), *more]

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        training = self.training
        frames, instructions, tokens = self.demonstrations.windows(
            rng, training.batch, training.network.history
        )
        sentences = np.stack([self.table[instruction] for instruction in instructions])
        device = self.model.mask.device
        images, vectors, targets = (
            to_device(array, device) for array in (augment(frames, rng, training), sentences, tokens)
        )
        logits = network(images, vectors)
        right = (logits.detach().argmax(-1) == targets).float().mean()
        return {"loss": token_loss(logits, targets, to_device(self._spread, device)), "tokens_right": right}

    def save(self, step: int) -> None:
        """Write the policy folder where ``step`` is one of the shares at which it is wanted."""
        for share in self.training.saved_shares:
            if step == max(1, round(share * self.training.steps)):
                card = _card(self.training, self.demonstrations, self.table, self.model, share, step)
                folder = checkpoint_folder(self.training.out, share)
                save_rt1(folder, self.model, self.table, card, half=True, robot=self.robot)


def checkpoint_folder(out: Path, share: float) -> Path:
    """Where the policy saved after this share of a training lies."""
    return out / f"at-{100 * share:g}"


def token_loss(logits: Tensor, tokens: Tensor, spread: Tensor) -> Tensor:
    """Cross-entropy of logits (... 11 v) with tokens (... 11), less the entropy of the targets: 0 is perfect.

    ``spread`` (11,) is the standard deviation, in bins, of the bell that takes the place of a single
    target bin: neighbouring bins are nearly the same action, which a small network learns slowly by
    itself.  With 0 the target is the one bin.
    """
    bins = torch.arange(logits.shape[-1], device=logits.device)
    # Far below one bin the bell is the single bin in float32.
    distance = (bins - tokens[..., None]) / spread.clamp_min(1e-3)[:, None]
    target = (-0.5 * distance.square()).log_softmax(dim=-1)
    return F.kl_div(logits.log_softmax(dim=-1), target, reduction="none", log_target=True).sum(-1).mean()


def fit_to_dataset(network: RT1Config, folder: Path) -> RT1Config:
    """The configuration for the robot of a dataset folder: its action, and its frames where the size is the default.

    A folder without ``robot.json`` leaves it as it is.
    """
    robot, default = read_robot(folder), RT1Config.small()
    if robot is None:
        return network
    fitted = network.for_robot(robot)
    if network.image_size != default.image_size:
        fitted = replace(fitted, image_size=network.image_size)
    return fitted if network.bounds == default.bounds else replace(fitted, bounds=network.bounds)


def target_spread(config: RT1Config, smoothing: float) -> Tensor:
    """Spread (11,) of the targets: ``smoothing`` for numbers, 0 for the mode, whose bins have no order."""
    if config.action:
        return torch.full((config.action_tokens,), smoothing)
    spread = []
    for name in config.action_order:
        width = FIELDS[name].stop - FIELDS[name].start
        spread += [0.0] if name == "terminate_episode" else [smoothing] * width
    return torch.tensor(spread)


def augment(frames: np.ndarray, rng: np.random.Generator, training: PolicyTraining) -> np.ndarray:
    """Each window (t h w 3) of uint8 frames (b t h w 3) changed at random, as the settings say."""
    how = Augmentation(training.shift, training.brightness, training.blur, training.noise)
    return augmented(frames, rng, how)


def _instructions(training: PolicyTraining, demonstrations: DemonstrationSet) -> InstructionTable:
    width = training.network.embedding
    if training.embeddings is None and not demonstrations.embeddings:
        return InstructionTable.random(demonstrations.instructions, width)
    known = (
        InstructionTable.of_dataset(demonstrations.embeddings, width, Path(training.data.folder))
        if training.embeddings is None
        else InstructionTable.from_npz(training.embeddings, width)
    )
    return InstructionTable({name: known[name] for name in demonstrations.instructions}, width)


def _card(
    training: PolicyTraining,
    demonstrations: DemonstrationSet,
    table: InstructionTable,
    network: RT1,
    share: float,
    step: int,
) -> str:
    data = training.data
    tasks = ", ".join(data.tasks) or "all"
    size, history = sum(p.numel() for p in network.parameters()), training.network.history
    return f"""# RT-1 policy, {100 * share:g} % of its training

Behaviour cloning, cross-entropy on action tokens; {size:,} parameters.

- steps: {step} of {training.steps}, {training.batch} windows of {history} frames, seed {training.seed}
- data: {len(demonstrations.frames)} episodes, seed {data.seed}, labels: {data.labels}, tasks: {tasks}
- controllers: {", ".join(data.controllers) or "all"}; only successes: {data.successful}
- label noise {data.label_noise:g}, action scale {data.action_scale:g}, action delay {data.action_delay}
- augmentation: shift {training.shift} pixels, brightness {training.brightness:g}, blur {training.blur:g} pixels,
  noise {training.noise:g}
- instructions: {", ".join(table)}
"""
