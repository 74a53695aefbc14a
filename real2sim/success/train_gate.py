"""Training of the validity gate on real episodes, and its limits from others."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from tqdm import tqdm

from real2sim.checks import LARGEST_BATCH, check_once, check_whole
from real2sim.episodes.keep_out import for_training
from real2sim.episodes.learned_files import learned_files
from real2sim.episodes.npz import check_one_size, dataset_files, dataset_robot, read_npz
from real2sim.host_copies import to_device
from real2sim.model_folder import write_folder
from real2sim.robot import Robot, robot_text
from real2sim.robot_match import check_same_robot
from real2sim.success.classifier import to_network
from real2sim.success.degradation import blur, colour, noise, patch_noise, resample
from real2sim.success.fit_settings import optimisation_of
from real2sim.success.gate_card import gate_card
from real2sim.success.inverse_dynamics import (
    InverseDynamics,
    InverseDynamicsConfig,
    check_share,
    laplace_loss,
    network_size,
)
from real2sim.success.unlikeness import conformal_quantile
from real2sim.success.validity import KIND, STATISTICS, GateConfig, GateLimits, ValidityGate, requested
from real2sim.training.loop import run_training, trained_weights
from real2sim.training.optimisation import Optimisation

logger = logging.getLogger(__name__)

FREE_SETTINGS = ("out", "snapshot_every", "max_minutes", "device")
"""Settings that may change when a training is continued."""
FEWEST_EPISODES = 12
"""Real episodes below which there is nothing to fit and check a gate on."""
FEW_VALUES = 3
"""A number of a delta action with at most this many values, such as an open or closed gripper, is a target."""
LEAST_VALUE = 1e-6
"""Smallest limit."""
SOFTEN = 0.3
"""Chance of each defect of drawn frames in a pair of frames."""


@dataclass(frozen=True)
class GateTraining:
    """Train a validity gate on real episodes."""

    data: tuple[Path, ...]
    """Dataset folders (npz episodes) of real video."""
    out: Path
    """Folder for log, checkpoint and, in the end, the gate (``out/model``); an unfinished one is continued."""
    refused: float = 0.01
    """Share of real episodes that the gate may refuse."""
    steps: int = 3000
    """Optimiser steps."""
    batch: int = 64
    """Pairs of frames per step and process."""
    learning_rate: float = 2e-3
    """Peak rate of AdamW; warmed up for 100 steps, then a cosine to zero."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    kept_share: float = 0.2
    """Share of the episodes that are kept from training and used to fit the limits."""
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
        check_once(data=self.data)
        check_share("refused", self.refused)
        check_share("kept_share", self.kept_share)

    @property
    def optimisation(self) -> Optimisation:
        """The settings of the training loop."""
        return optimisation_of(self)


def train_gate(config: GateTraining) -> ValidityGate | None:
    """Train a gate, fit its limits and store it, or continue what ``config.out`` holds; None if the time ran out.

    Raises ValueError where ``out`` holds a training with other settings, or where the data is of several robots.
    """
    task = ActionRecovery(config)
    if not run_training(task, config.optimisation, config.out, config.max_minutes):
        return None
    folder = config.out / "model"
    gate = _fitted(task)
    if PartialState().is_main_process:
        seconds = float(trained_weights(config.out)[1]["seconds"])
        counts = len(task.training), len(task.limiting)
        card = gate_card(config, gate, counts, seconds)
        texts = robot_text(task.robot)
        write_folder(folder, KIND, gate.config, gate.network.state_dict(), card, half=True, texts=texts)
        logger.info("the gate is in %s", folder)
        # What is stored is half as precise; that is what a run will be checked with.
        return ValidityGate.from_folder(folder)
    return gate


class RealEpisodes:
    """Frames and actions of real episodes, held in memory."""

    def __init__(self, folders: Sequence[Path]) -> None:
        robots = [dataset_robot(folder) for folder in folders]
        for folder, robot in zip(folders, robots, strict=True):
            check_same_robot(robots[0], str(folders[0]), robot, str(folder))
        self.robot = robots[0]
        paths = [path for folder in folders for path in for_training(dataset_files(folder))]
        self.frames, self.actions = [], []
        sizes: dict[Path, tuple[int, ...]] = {}
        for path in tqdm(paths, desc="episodes", disable=len(paths) < 500):
            episode = read_npz(path)
            if len(episode["image"]) < 2:
                continue
            self.frames.append(episode["image"])
            sizes[path] = episode["image"].shape[1:3]
            # The last action of a recording leads nowhere.
            self.actions.append(episode["action"][: len(episode["image"]) - 1].astype(np.float32))
        check_one_size(sizes)
        if len(self) < FEWEST_EPISODES:
            raise ValueError(
                f"{', '.join(map(str, folders))}: {len(self)} real episodes of two frames or more are too few for a "
                f"validity gate; expected at least {FEWEST_EPISODES}, record more"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def numbers(self, episodes: np.ndarray) -> np.ndarray:
        """Actions (m, K, n) of some episodes."""
        robot = self.robot
        return np.concatenate([robot.per_frame(self.actions[i]) for i in episodes])


class ActionRecovery:
    """An inverse-dynamics network and the episodes it learns from, for the training loop."""

    extra_modules: Mapping[str, nn.Module] = MappingProxyType({})
    fixed_settings = tuple(
        item.name for item in dataclasses.fields(GateTraining) if item.name not in FREE_SETTINGS
    )

    def __init__(self, config: GateTraining) -> None:
        self.config = config
        self.episodes = RealEpisodes(config.data)
        self.robot = self.episodes.robot
        self.training, self.limiting = split(len(self.episodes), config.kept_share, config.seed)
        actions = self.episodes.numbers(self.training)
        self.network_config = InverseDynamicsConfig(
            numbers=int(np.prod(actions.shape[1:])), image_size=network_size(self.robot.canvas_size)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = InverseDynamics(self.network_config)
        mean, spread = _spread(actions, self.robot)
        if not spread.any():
            raise ValueError(
                f"no action number ever changes in {', '.join(map(str, config.data))}, so no action can be recovered"
            )
        self.model.mean.copy_(torch.from_numpy(mean))
        self.model.spread.copy_(torch.from_numpy(spread))
        lengths = [len(self.episodes.actions[i]) for i in self.training]
        self._episode = np.repeat(self.training, lengths)
        self._step = np.concatenate([np.arange(length) for length in lengths])

    @property
    def trained(self) -> InverseDynamics:
        return self.model

    def settings(self) -> Mapping[str, Any]:
        values = {name: getattr(self.config, name) for name in self.fixed_settings}
        return {**values, "network": self.network_config}

    def learned_files(self) -> list[Path]:
        return learned_files(self.config.data)

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        picked = rng.integers(len(self._episode), size=self.config.batch)
        places = list(zip(self._episode[picked].tolist(), self._step[picked].tolist(), strict=True))
        pairs = to_network(np.stack([self.episodes.frames[e][t : t + 2] for e, t in places]))
        actions = torch.from_numpy(np.stack([self.episodes.actions[e][t].reshape(-1) for e, t in places]))
        seen = soften(pairs, torch.Generator().manual_seed(int(rng.integers(2**62))))
        device = self.model.mean.device
        wanted = self.model.standardised(to_device(actions, device))
        recovered, scale = network(to_device(seen, device))
        loss = laplace_loss(recovered, scale, wanted, self.model.spread)
        changes = (self.model.spread > 0).float()
        error = ((recovered - wanted).abs() * changes).sum(dim=1).mean() / changes.sum()
        return {"loss": loss, "error": error}


def split(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Episodes for training and for the limits; both hold some."""
    order = np.random.default_rng([seed, 2**32]).permutation(count)
    kept = min(count - 6, max(6, round(share * count)))
    return np.sort(order[kept:]), np.sort(order[:kept])


def soften(pairs: Tensor, generator: torch.Generator) -> Tensor:
    """Pairs of frames (b 2 c h w) with defects that drawn frames have, both alike, so that softness is no error."""
    out = pairs.clone()
    defects = ((resample, ()), (blur, (1.6,)), (noise, (0.08,)), (patch_noise, (0.08,)), (colour, (0.12,)))
    for defect, strength in defects:
        some = torch.rand(len(out), generator=generator) < SOFTEN
        if some.any():
            out[some] = defect(out[some], *strength, generator)  # type: ignore[operator,call-arg]
    return out.clamp_(-1, 1)


def held_numbers(actions: np.ndarray, robot: Robot) -> np.ndarray:
    """Which numbers of actions (m, K, n) are targets, bool (n): all of absolute actions, and those with few values."""
    if robot.action_kind == "absolute":
        return np.ones(actions.shape[-1], bool)
    return np.array([len(np.unique(actions[..., i])) <= FEW_VALUES for i in range(actions.shape[-1])])


def _moving(robot: Robot) -> np.ndarray:
    """Which numbers move the robot, bool (n)."""
    return np.array([number.used and number.name not in (robot.terminate or ()) for number in robot.action])


def _spread(actions: np.ndarray, robot: Robot) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (K n) of actions (m, K, n); the latter is 0 for numbers that move nothing."""
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    moves = np.tile(_moving(robot), actions.shape[1])
    constant = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-3)
    return mean.astype(np.float32), np.where(moves & ~constant, spread, 0).astype(np.float32)


def _fitted(task: ActionRecovery) -> ValidityGate:
    """A gate with the averaged weights of the last checkpoint and limits from episodes kept from training."""
    network = copy.deepcopy(task.model).cpu()
    network.load_state_dict(trained_weights(task.config.out)[0])
    # The limits are those of the weights as they are stored.
    network.load_state_dict({name: value.half().float() for name, value in network.state_dict().items()})
    held = tuple(held_numbers(task.episodes.numbers(task.training), task.robot).tolist())
    asked = np.concatenate([requested(task.episodes.actions[i].reshape(len(task.episodes.actions[i]), -1), held)
                            for i in task.training])  # fmt: skip
    motion = np.where(_moving(task.robot), np.sqrt((asked**2).mean(axis=0)), 0.0)
    config = GateConfig(
        task.network_config,
        held,
        tuple(float(value) for value in motion),
        GateLimits(refused=task.config.refused),
    )
    gate = ValidityGate(config, network, task.robot)
    limits = fit_limits(gate, task.episodes, task.limiting, task.config.refused)
    return ValidityGate(dataclasses.replace(config, limits=limits), network, task.robot)


def fit_limits(
    gate: ValidityGate, episodes: RealEpisodes, limiting: np.ndarray, refused: float
) -> GateLimits:
    """The conformal limits of real episodes that were kept from training.

    With few episodes a limit is their extreme value, and the share that is refused larger: it is kept in the result.
    """

    def largest(chosen: np.ndarray) -> np.ndarray:
        """The largest of each of the gate's numbers (4 episodes)."""
        return np.stack(
            [gate.statistics(episodes.frames[i], episodes.actions[i]).max(axis=1) for i in chosen], axis=1
        )

    found = largest(limiting)
    refused = max(refused, len(STATISTICS) / (len(limiting) + 1))
    limits = [max(conformal_quantile(values, refused / len(STATISTICS)), LEAST_VALUE) for values in found]
    error, errors, still, soft = limits
    return GateLimits(error, errors, still, soft, refused, len(limiting))
