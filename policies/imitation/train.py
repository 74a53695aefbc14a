"""Behaviour cloning of an imitation policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from real2sim.checks import LARGEST_BATCH, check_whole
from real2sim.episodes.learned_files import learned_files
from real2sim.host_copies import to_device
from real2sim.policies.imitation.config import ImitationConfig, Tile
from real2sim.policies.imitation.demonstrations import DemonstrationSet, load_demonstrations
from real2sim.policies.imitation.network import ImitationNetwork
from real2sim.policies.imitation.policy import save_imitation
from real2sim.policies.rt1.demonstrations import Demonstrations
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.robot import Camera, Robot, read_robot
from real2sim.training.augmentation import Augmentation, augment
from real2sim.training.loop import run_training
from real2sim.training.optimisation import Optimisation

MODEL_FOLDER = "policy"


@dataclass(frozen=True)
class ImitationTraining:
    """Train an imitation policy by behaviour cloning."""

    data: Demonstrations
    out: Path
    """Training folder; an unfinished one is continued."""
    network: ImitationConfig = field(default_factory=ImitationConfig)
    """Width of actions and bounds are taken from the data where they are not given."""
    batch: int = 48
    """Windows per step and process."""
    moments: int = 1
    """Consecutive moments of a window; a recurrent policy learns to remember over so many."""
    augmentation: Augmentation = Augmentation()
    embeddings: Path | None = None
    """npz file with one sentence embedding per instruction; without it the episodes' own, and where they have none a
    random vector of signs per instruction."""
    save_at: tuple[float, ...] = ()
    """Shares of the training, above 0 and below 1, at which the policy is saved as OUT/at-<percent> too."""
    steps: int = 1500
    """Optimiser steps."""
    learning_rate: float = 2e-3
    """Peak; it falls to zero along a half cosine from a third of the steps on."""
    weight_decay: float = 0.01
    keep_every: int = 200
    """Steps between two training states on disk."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; ``auto`` takes a GPU if there is one."""
    max_minutes: float = math.inf
    """Stop after this time; running the same command again goes on."""

    @property
    def optimisation(self) -> Optimisation:
        """What the loop has to know."""
        return Optimisation(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=max(1, self.steps // 20),
            decay_from=1 / 3,
            weight_decay=self.weight_decay,
            ema=0.0,
            seed=self.seed,
            device=self.device,
            checkpoint_every=self.keep_every,
        )

    def __post_init__(self) -> None:
        for name in ("batch", "moments", "steps", "keep_every"):
            check_whole(name, getattr(self, name), 1, LARGEST_BATCH if name == "batch" else None)
        if not all(0 < share < 1 for share in self.save_at):
            raise ValueError(f"save_at holds shares of the training between 0 and 1, got {self.save_at}")


class Cloning:
    """An imitation network as the training loop sees it."""

    extra_modules: Mapping[str, nn.Module] = MappingProxyType({})
    fixed_settings = ("model", "data", "batch", "moments", "augmentation", "optimisation")

    def __init__(self, training: ImitationTraining) -> None:
        self.data = load_demonstrations(
            training.data, state=training.network.state, chunk=training.network.chunk
        )
        self.training = training
        self.robot = read_robot(training.data.folder)
        self.config = for_robot(training.network, self.robot, self.data)
        self.table = instruction_table(training, self.data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            self.network = ImitationNetwork(self.config)
        self._normalise()

    @property
    def trained(self) -> nn.Module:
        """All of the network."""
        return self.network

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.network

    def settings(self) -> Mapping[str, Any]:
        """Everything that makes this training."""
        return {
            "model": self.config,
            "data": self.training.data,
            "batch": self.training.batch,
            "moments": self.training.moments,
            "augmentation": self.training.augmentation,
            "optimisation": self.training.optimisation,
        }

    def learned_files(self) -> list[Path]:
        """Episodes, their robot, and embeddings that were given."""
        more = [] if self.training.embeddings is None else [self.training.embeddings]
        return [*learned_files([Path(self.training.data.folder)]), *more]

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        """Mean loss over fresh windows."""
        config, training = self.config, self.training
        drawn = self.data.windows(rng, training.batch, training.moments, config.frames, config.chunk)
        frames = augment(drawn.frames, rng, training.augmentation)
        sentences = np.stack([self.table[instruction] for instruction in drawn.instructions])
        device = self.network.action_mean.device
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        state = None if drawn.state is None else to_device(drawn.state, device)
        plan = network(to_device(frames, device), to_device(sentences, device), state)
        actions, known = (to_device(array, device) for array in (drawn.actions, drawn.known))
        return {"loss": self.network.loss(plan, actions, known, generator)}

    def save(self, folder: Path, steps: int) -> None:
        """Write the policy folder."""
        save_imitation(folder, self.network, self.table, self._card(steps))
        if self.robot is not None:
            self.robot.save(folder)

    def _normalise(self) -> None:
        mean, deviation = self.data.spread()
        self.network.action_mean.copy_(torch.from_numpy(mean))
        self.network.action_std.copy_(torch.from_numpy(deviation))
        picture, contrast = self.data.picture()
        self.network.frame_mean.copy_(torch.from_numpy(picture))
        self.network.frame_std.copy_(torch.from_numpy(contrast))
        if self.data.states:
            numbers = np.concatenate(self.data.states).astype(np.float64)
            self.network.state_mean.copy_(torch.from_numpy(numbers.mean(axis=0)))
            self.network.state_std.copy_(torch.from_numpy(numbers.std(axis=0)))

    def _card(self, steps: int) -> str:
        config, what, how = self.config, self.training.data, self.training.augmentation
        size = sum(parameter.numel() for parameter in self.network.parameters())
        seen = f"{config.frames} frame{'s' if config.frames > 1 else ''} at once"
        seen += f", a recurrent unit of {config.recurrent}" if config.recurrent else ""
        return f"""# Imitation policy: {config.head}, chunks of {config.chunk}

Behaviour cloning; {size:,} parameters; {seen}; decoder: {config.decoder}; proprioception: {config.state or "none"}.

- steps: {steps} of {self.training.steps}, {self.training.batch} windows of {self.training.moments} moments,
  seed {self.training.seed}
- data: {len(self.data.frames)} episodes, seed {what.seed}, labels: {what.labels}
- tasks: {", ".join(what.tasks) or "all"}
- controllers: {", ".join(what.controllers) or "all"}; only successes: {what.successful}
- label noise {what.label_noise:g}, action scale {what.action_scale:g}, action delay {what.action_delay}
- augmentation: shift {how.shift} pixels, brightness {how.brightness:g}, blur {how.blur:g} pixels, noise {how.noise:g}
- instructions: {", ".join(self.table)}
"""


def train_imitation(training: ImitationTraining) -> tuple[Path, ...]:
    """Train, or continue; gives the policy folders that exist, the finished one last.

    A run that is stopped and started again ends with the same weights as one that was not.
    """
    cloning = Cloning(training)
    steps = training.steps
    saves = {max(1, round(share * steps)): training.out / f"at-{100 * share:g}" for share in training.save_at}

    def after_step(done: int) -> None:
        if done in saves:
            cloning.save(saves[done], done)

    finished = run_training(cloning, training.optimisation, training.out, training.max_minutes, after_step)
    if finished:
        cloning.save(training.out / MODEL_FOLDER, steps)
    return tuple(folder for folder in (*saves.values(), training.out / MODEL_FOLDER) if folder.is_dir())


def for_robot(config: ImitationConfig, robot: Robot | None, data: DemonstrationSet) -> ImitationConfig:
    """The configuration with what the robot is: its actions, their number per frame and bounds, cameras, frame size.

    A chunk of 1 becomes as many actions as the robot takes per frame.

    Without a ``robot.json`` actions stay within what the data holds.
    """
    per_frame, count = data.demonstrations[0].actions.shape[1:]
    height, width = data.frames[0].shape[1:3]
    _check_given(config, {"image_size": (height, width), "actions": count, "actions_per_frame": per_frame})
    chunk = per_frame if config.chunk == 1 else config.chunk
    config = replace(
        config, actions=count, actions_per_frame=per_frame, chunk=chunk, image_size=(height, width)
    )
    if robot is not None:
        if (robot.action_width, robot.canvas_size) != (count, config.image_size):
            raise ValueError(
                f"the robot of the dataset has actions of {robot.action_width} numbers and frames of "
                f"{robot.canvas_size[0]} x {robot.canvas_size[1]} pixels, its episodes have {count} and "
                f"{height} x {width}; was robot.json written for other data?"
            )
        if len(robot.cameras) > 1:
            config = replace(config, cameras=tuple(_tile(robot, camera) for camera in robot.cameras))
        low, high = robot.low, robot.high
    else:
        rows = np.concatenate([item.actions for item in data.demonstrations])
        low, high = rows.min(axis=(0, 1)), rows.max(axis=(0, 1))
    return replace(
        config,
        action_low=config.action_low or tuple(float(value) for value in low),
        action_high=config.action_high or tuple(float(value) for value in high),
    )


def _check_given(config: ImitationConfig, data: Mapping[str, Any]) -> None:
    """ValueError where an option says otherwise than the data; those left at their defaults say nothing."""
    for name, found in data.items():
        given, default = getattr(config, name), getattr(ImitationConfig(), name)
        if given not in (default, found):
            said, wanted = (" ".join(map(str, np.atleast_1d(value))) for value in (given, found))
            raise ValueError(
                f"--network.{name.replace('_', '-')} is {said} and the episodes have {wanted}; leave it out, or "
                "convert the dataset again"
            )


def _tile(robot: Robot, camera: Camera) -> Tile:
    rows, columns = robot.tile(camera.name)
    return Tile(camera.name, rows.start, columns.start, camera.height, camera.width)


def instruction_table(training: ImitationTraining, data: DemonstrationSet) -> InstructionTable:
    """Vectors of the data's instructions."""
    width = training.network.embedding
    if training.embeddings is None and not data.embeddings:
        return InstructionTable.random(data.instructions, width)
    known = (
        InstructionTable.of_dataset(data.embeddings, width, Path(training.data.folder))
        if training.embeddings is None
        else InstructionTable.from_npz(training.embeddings, width)
    )
    return InstructionTable({name: known[name] for name in data.instructions}, width)
