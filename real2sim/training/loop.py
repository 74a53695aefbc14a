"""The loop in which every world model is trained: resumable at any moment, the same on any number of processes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from real2sim.files import atomic_write, read_json, write_text
from real2sim.model_folder import config_from_dict, config_to_dict

CHECKPOINT, DESCRIPTION, LOG = "checkpoint.pt", "training.json", "log.jsonl"
LOG_EVERY = 20
"""Steps whose mean loss is one line of the log."""


@dataclass(frozen=True)
class Optimisation:
    """How long and how fast to train."""

    steps: int = 10_000
    windows: int = 3
    """Windows per pass and process."""
    accumulate: int = 1
    """Passes whose gradients are added before a step."""
    frames: int = 12
    """Frames per window."""
    learning_rate: float = 2e-3
    warmup: int = 100
    decay_from: float = 0.5
    """Fraction of the training after which the learning rate falls to zero along a cosine."""
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    """Decay of the averaged weights, which are what is kept; 0 keeps the weights themselves."""
    seed: int = 0
    mixed_precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool = False
    """Compute each block of the network again in the backward pass: less memory, a third more time."""
    compile: bool = False
    checkpoint_every: int = 200
    """Steps between checkpoints from which a stopped training continues."""

    def __post_init__(self) -> None:
        for name in ("steps", "windows", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.frames < 2:
            raise ValueError(f"a window needs at least 2 frames, got {self.frames}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema}")


class TrainingTask(Protocol):
    """What is trained, and on what."""

    @property
    def model(self) -> nn.Module:
        """The whole model; only its ``unet`` is trained."""

    @property
    def fitted(self) -> tuple[str, ...]:
        """Other parts of the model that the checkpoint has to keep."""

    def described(self) -> Mapping[str, Any]:
        """Everything that makes this training; a stopped one continues only with the same ``"model"``."""

    def loss(self, unet: nn.Module, step: int, rng: np.random.Generator) -> Tensor:
        """Mean loss over fresh windows; all chance in it comes from ``rng``."""


def learning_rate(step: int, config: Optimisation) -> float:
    """Linear warm-up, constant, then a cosine to zero from ``decay_from`` on; never, if that is 1."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    begin = config.decay_from * config.steps
    if step < begin or config.decay_from >= 1:
        return config.learning_rate
    return (
        config.learning_rate
        * 0.5
        * (1 + math.cos(math.pi * min(1.0, (step - begin) / (config.steps - begin))))
    )


def run_training(
    subject: TrainingTask, config: Optimisation, out: Path, max_minutes: float = math.inf
) -> bool:
    """Train, or continue what ``out`` holds; False if ``max_minutes`` were over before the end.

    A step's windows are numbered over all processes and accumulated passes, and each is drawn from (seed, step,
    number): two processes give what one gives that accumulates two passes.

    Raises ValueError if ``out`` holds a training of another model.
    """
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision, gradient_accumulation_steps=config.accumulate
    )
    model: Any = subject.model
    optimiser: Any = torch.optim.AdamW(
        model.unet.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
    )
    step, losses, average = _restore(subject, config, out, optimiser, accelerator.is_main_process)
    average = {name: value.to(accelerator.device) for name, value in average.items()}
    unet, optimiser = accelerator.prepare(model.unet, optimiser)
    model.to(accelerator.device)
    if config.compile:
        unet = torch.compile(unet)

    began = time.monotonic()
    bar = tqdm(total=config.steps, initial=step, unit="step", disable=not accelerator.is_main_process)
    while step < config.steps and not _over(accelerator, began, max_minutes):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        passes = []
        for index in range(config.accumulate):
            number = accelerator.process_index + index * accelerator.num_processes
            rng = np.random.default_rng([config.seed, step, number])
            with accelerator.accumulate(unet):
                loss = subject.loss(unet, step, rng)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(unet.parameters(), config.clip)
                optimiser.step()
                optimiser.zero_grad()
            passes.append(loss.detach())
        step += 1
        if average:
            decay = min(config.ema, (1 + step) / (10 + step))
            _average(average, accelerator.unwrap_model(unet).state_dict(), decay)
        losses.append(float(accelerator.reduce(torch.stack(passes).mean(), reduction="mean")))
        bar.update()
        if step % LOG_EVERY == 0 or step == config.steps:
            row = {
                "step": step,
                "loss": float(np.mean(losses)),
                "lr": learning_rate(step, config),
                "seconds": time.monotonic() - began,
            }
            losses.clear()
            bar.set_postfix(loss=f"{row['loss']:.4f}")
            if accelerator.is_main_process:
                with (out / LOG).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        if step % config.checkpoint_every == 0 and accelerator.is_main_process:
            _checkpoint(subject, accelerator.unwrap_model(unet), average, optimiser, step, losses, out)
    bar.close()
    if step % config.checkpoint_every and accelerator.is_main_process:
        _checkpoint(subject, accelerator.unwrap_model(unet), average, optimiser, step, losses, out)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return step >= config.steps


def trained_weights(out: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """State of the U-Net after a training, averaged if it was asked for, and the whole checkpoint."""
    state = torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)
    return state["average"] or state["unet"], state


def _over(accelerator: Accelerator, began: float, minutes: float) -> bool:
    """Whether the time is over on any process; all have to stop at the same step."""
    if math.isinf(minutes):
        return False
    over = torch.tensor(float((time.monotonic() - began) / 60 > minutes), device=accelerator.device)
    return bool(accelerator.reduce(over) > 0)


@torch.no_grad()
def _average(average: dict[str, Tensor], now: Mapping[str, Tensor], decay: float) -> None:
    names = [name for name in average if average[name].is_floating_point()]
    torch._foreach_lerp_([average[name] for name in names], [now[name] for name in names], 1 - decay)


def _checkpoint(
    subject: TrainingTask,
    unet: nn.Module,
    average: dict[str, Tensor],
    optimiser: Any,
    step: int,
    losses: list[float],
    out: Path,
) -> None:
    state = {
        "step": step,
        "unet": unet.state_dict(),
        "average": average,
        "optimiser": optimiser.state_dict(),
        "losses": losses,
        **{name: subject.model.get_submodule(name).state_dict() for name in subject.fitted},
    }
    with atomic_write(out / CHECKPOINT) as file:
        torch.save(state, file)


def _restore(
    subject: TrainingTask, config: Optimisation, out: Path, optimiser: torch.optim.Optimizer, write: bool
) -> tuple[int, list[float], dict[str, Tensor]]:
    """Step, losses not yet logged, and averaged weights (none without ``ema``) to go on with."""
    description, path = out / DESCRIPTION, out / CHECKPOINT
    unet = subject.model.get_submodule("unet")
    described = subject.described()
    state: dict[str, Any] = {"step": 0}
    if path.exists():
        wanted = described["model"]
        if config_from_dict(type(wanted), read_json(description)["model"], str(description)) != wanted:
            raise ValueError(
                f"{out} holds a training of another configuration of the model; continue with that one, "
                "or choose another folder"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        unet.load_state_dict(state["unet"])
        for name in subject.fitted:
            subject.model.get_submodule(name).load_state_dict(state[name])
        optimiser.load_state_dict(state["optimiser"])
    if write:
        write_text(description, json.dumps(config_to_dict(described), indent=2) + "\n")
        _forget_later_lines(out / LOG, state["step"])
    average = {}
    if config.ema:
        average = {name: value.detach().clone() for name, value in unet.state_dict().items()}
        average |= state.get("average") or {}
    return int(state["step"]), list(state.get("losses", [])), average


def _forget_later_lines(log: Path, step: int) -> None:
    """Take out of the log what a killed training wrote after its last checkpoint, and a line cut off."""
    if not log.exists():
        return
    lines = log.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    write_text(log, "".join(f"{line}\n" for line in kept))
