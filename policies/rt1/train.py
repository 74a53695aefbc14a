"""Behaviour cloning: an RT-1 network learns to name the action tokens of demonstrations."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch import Tensor
from tqdm import tqdm

from real2sim.actions import FIELDS
from real2sim.files import read_json, write_text
from real2sim.model_folder import config_to_dict
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.demonstrations import Demonstrations, DemonstrationSet, load_demonstrations
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.policy import RT1, save_rt1

STATE_FILE, LOG_FILE, CONFIG_FILE = "state.safetensors", "log.jsonl", "training.json"


@dataclass(frozen=True)
class PolicyTraining:
    """Train an RT-1 policy by behaviour cloning."""

    data: Demonstrations
    out: Path
    """Training folder; an unfinished one is continued."""
    network: RT1Config = field(default_factory=RT1Config.drawer)
    steps: int = 1500
    """Optimiser steps."""
    batch: int = 48
    """Windows of ``network.history`` frames per step, over all processes."""
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
    """Shares of the training at which the policy is saved as OUT/at-<percent>."""
    keep_every: int = 100
    """Steps between two training states on disk."""
    max_minutes: float | None = None
    """Stop after this time; running the same command again goes on."""
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.keep_every < 1:
            raise ValueError("steps, batch and keep_every must be at least 1")
        if not self.save_at or not all(0 < share <= 1 for share in self.save_at):
            raise ValueError(f"save_at holds shares of the training above 0 and up to 1, got {self.save_at}")
        if min(self.smoothing, self.shift, self.blur, self.noise) < 0 or not 0 <= self.brightness < 1:
            raise ValueError(
                "smoothing, shift, blur and noise must not be negative, brightness lies between 0 and 1"
            )


def train_policy(training: PolicyTraining) -> tuple[Path, ...]:
    """Train, and give the policy folders that exist so far, in the order of ``save_at``.

    A run that is stopped and started again ends with the same weights as one that was not.
    """
    accelerator = Accelerator(cpu=training.device == "cpu")
    book = load_demonstrations(training.data, training.network)
    table = _instructions(training, book)
    _same_training(training, accelerator.is_main_process)

    torch.manual_seed(training.seed)
    # Batches are few, so the running statistics must follow faster than Keras' 1 % per batch.
    network = RT1(training.network, norm_momentum=0.05)
    optimizer = torch.optim.AdamW(
        network.parameters(), training.learning_rate, weight_decay=training.weight_decay
    )
    begun = _load_state(training.out / STATE_FILE, network, optimizer)
    model, optimizer = accelerator.prepare(network, optimizer)
    saves = {max(1, round(share * training.steps)): share for share in training.save_at}
    deadline = math.inf if training.max_minutes is None else time.monotonic() + 60 * training.max_minutes

    spread = target_spread(training.network, training.smoothing).to(accelerator.device)
    model.train()
    bar = tqdm(
        range(begun, training.steps),
        initial=begun,
        total=training.steps,
        disable=not accelerator.is_main_process,
    )
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, training.steps, training.learning_rate)
        frames, sentences, tokens = _batch(book, table, training, step, accelerator)
        logits = model(frames, sentences)
        loss = token_loss(logits, tokens, spread)
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

        done = step + 1
        if accelerator.is_main_process:
            right = (logits.detach().argmax(-1) == tokens).float().mean()
            row = {"step": done, "loss": round(loss.item(), 5), "tokens_right": round(right.item(), 4)}
            bar.set_postfix(loss=row["loss"])
            _append(training.out / LOG_FILE, row)
            if done in saves:
                _save(training, network, table, saves[done], done, book)
            if done % training.keep_every == 0 or done in saves or time.monotonic() > deadline:
                _save_state(training.out / STATE_FILE, network, optimizer.optimizer, done)
        if time.monotonic() > deadline:
            break
    accelerator.wait_for_everyone()
    return tuple(
        folder for share in training.save_at if (folder := checkpoint_folder(training.out, share)).is_dir()
    )


def checkpoint_folder(out: Path, share: float) -> Path:
    """Where the policy saved after this share of a training lies."""
    return out / f"at-{100 * share:g}"


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear rise over the first twentieth, then half a cosine to zero."""
    rise = max(1, steps // 20)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


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


def target_spread(config: RT1Config, smoothing: float) -> Tensor:
    """Spread (11,) of the targets: ``smoothing`` for numbers, 0 for the mode, whose bins have no order."""
    spread = []
    for name in config.action_order:
        width = FIELDS[name].stop - FIELDS[name].start
        spread += [0.0] if name == "terminate_episode" else [smoothing] * width
    return torch.tensor(spread)


def augment(frames: np.ndarray, rng: np.random.Generator, training: PolicyTraining) -> np.ndarray:
    """Each window (t h w 3) of uint8 frames (b t h w 3) shifted, brightened, blurred and made noisy at random.

    A policy that has seen only crisp frames steers by single pixels, which a camera out of focus, or a world
    model, does not give it.
    """
    if training.shift:
        shift, (height, width) = training.shift, frames.shape[2:4]
        padded = np.pad(frames, ((0, 0), (0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
        corners = rng.integers(0, 2 * shift + 1, size=(len(frames), 2))
        frames = np.stack(
            [window[:, y : y + height, x : x + width] for window, (y, x) in zip(padded, corners, strict=True)]
        )
    changed = frames.astype(np.float32)
    per_window = (len(frames), 1, 1, 1, 1)
    if training.brightness:
        changed *= rng.uniform(1 - training.brightness, 1 + training.brightness, per_window).astype(
            np.float32
        )
    if training.blur:
        for window in changed:
            if rng.random() < 0.5:
                sigma = rng.uniform(0, training.blur)
                window[:] = gaussian_filter(window, (0, sigma, sigma, 0), mode="nearest")
    if training.noise:
        spread = rng.uniform(0, 255 * training.noise, per_window).astype(np.float32)
        changed += spread * rng.standard_normal(changed.shape, dtype=np.float32)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _instructions(training: PolicyTraining, book: DemonstrationSet) -> InstructionTable:
    width = training.network.embedding
    if training.embeddings is None and not book.embeddings:
        return InstructionTable.random(book.instructions, width)
    known = (
        InstructionTable(book.embeddings, width)
        if training.embeddings is None
        else InstructionTable.from_npz(training.embeddings, width)
    )
    return InstructionTable({name: known[name] for name in book.instructions}, width)


def _batch(
    book: DemonstrationSet,
    table: InstructionTable,
    training: PolicyTraining,
    step: int,
    accelerator: Accelerator,
) -> tuple[Tensor, Tensor, Tensor]:
    """This process's share of the batch of a step; the batch depends on seed and step alone."""
    rng = np.random.default_rng([training.seed, step])
    frames, instructions, tokens = book.windows(rng, training.batch, training.network.history)
    frames = augment(frames, rng, training)
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    sentences = np.stack([table[instruction] for instruction in instructions[mine]])
    arrays = (frames[mine], sentences, tokens[mine])
    images, vectors, targets = (
        torch.from_numpy(np.ascontiguousarray(a)).to(accelerator.device) for a in arrays
    )
    return images, vectors, targets


def _save(
    training: PolicyTraining,
    network: RT1,
    table: InstructionTable,
    share: float,
    step: int,
    book: DemonstrationSet,
) -> None:
    """Write the policy folder of a checkpoint."""
    what = training.data
    size, history = sum(p.numel() for p in network.parameters()), training.network.history
    card = f"""# RT-1 policy, {100 * share:g} % of its training

Behaviour cloning, cross-entropy on action tokens; {size:,} parameters.

- steps: {step} of {training.steps}, {training.batch} windows of {history} frames, seed {training.seed}
- data: {len(book.frames)} episodes, seed {what.seed}, labels: {what.labels}, tasks: {", ".join(what.tasks) or "all"}
- controllers: {", ".join(what.controllers) or "all"}; only successes: {what.successful}
- label noise {what.label_noise:g}, action scale {what.action_scale:g}, action delay {what.action_delay}
- augmentation: shift {training.shift} pixels, brightness {training.brightness:g}, blur {training.blur:g} pixels,
  noise {training.noise:g}
- instructions: {", ".join(table)}
"""
    save_rt1(checkpoint_folder(training.out, share), network, table, card, half=True)


def _same_training(training: PolicyTraining, main: bool) -> None:
    """Write the settings of a new training folder; refuse to go on with other ones in an old folder."""
    path = training.out / CONFIG_FILE
    settings = config_to_dict(training)
    for name in ("out", "max_minutes", "device", "keep_every"):
        del settings[name]
    if path.exists():
        different = [name for name, value in settings.items() if read_json(path).get(name) != value]
        if different:
            raise ValueError(f"{training.out} was begun with another {different[0]}; choose another folder")
    elif main:
        write_text(path, json.dumps(settings, indent=2) + "\n")


def _save_state(path: Path, network: RT1, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Everything needed to go on, replaced at once."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    temporary = path.with_suffix(".new")
    save_file(
        {name: t.contiguous().cpu() for name, t in tensors.items()}, temporary, metadata={"step": str(step)}
    )
    os.replace(temporary, path)


def _load_state(path: Path, network: RT1, optimizer: torch.optim.Optimizer) -> int:
    """Restore a state if there is one; gives the number of steps done."""
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step = int(file.metadata()["step"])
    prefix = "network."
    network.load_state_dict(
        {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    )
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


def _append(path: Path, row: Mapping[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
