"""The loop in which everything is trained: resumable at any step, the same on any number of processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from real2sim.training.checkpoint import (
    CHECKPOINT_FILE,
    Progress,
    append_row,
    cut_log,
    read_checkpoint,
    restore,
    write_checkpoint,
    write_settings,
)
from real2sim.training.optimisation import Optimisation, learning_rate


class TrainingTask(Protocol):
    """What is trained, and on what."""

    @property
    def model(self) -> nn.Module:
        """The whole model; it is moved to the device."""

    @property
    def trained(self) -> nn.Module:
        """The part of the model that is trained, or all of it."""

    @property
    def extra_modules(self) -> Mapping[str, nn.Module]:
        """Other parts of the model that a checkpoint keeps, by name."""

    @property
    def fixed_settings(self) -> tuple[str, ...]:
        """Names of the settings with which alone a stopped training continues."""

    def settings(self) -> Mapping[str, Any]:
        """Everything that makes this training, as written to ``training.json``."""

    def learned_files(self) -> Sequence[Path]:
        """The files that it learns from; changes to them between two starts are refused if ``data`` is a fixed setting,
        and said if not."""

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        """``"loss"``, the mean over fresh examples, and other values for the log.

        ``network`` is ``trained`` as this process runs it; all randomness comes from ``rng``.
        """


def run_training(
    task: TrainingTask,
    config: Optimisation,
    out: Path,
    max_minutes: float = math.inf,
    after_step: Callable[[int], None] | None = None,
) -> bool:
    """Train, or continue the training in ``out``; False if ``max_minutes`` were over before the end.

    The passes of a step are numbered over all processes and accumulated passes, and the examples of each come from
    (seed, step, number): two processes learn what one learns that accumulates two passes. ``after_step`` is called in
    the main process with the number of steps done.

    Raises ValueError if ``out`` holds a training with other settings, or if a loss or gradient is not finite; the last
    checkpoint is kept then.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("training on 'cuda' was asked for, but torch sees no GPU; choose the device cpu")
    accelerator = Accelerator(
        cpu=config.device == "cpu",
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulate,
    )
    main = accelerator.is_main_process
    optimiser: Any = torch.optim.AdamW(
        task.trained.parameters(), config.learning_rate, config.betas, weight_decay=config.weight_decay
    )
    progress = restore(task, optimiser, out, average=config.ema > 0)
    if progress.step > config.steps:
        raise ValueError(
            f"{out / CHECKPOINT_FILE} is that of {progress.step} steps, and {config.steps} are asked for; give "
            "at least as many, or choose another folder"
        )
    for group in optimiser.param_groups:
        # A checkpoint holds those that it was written with; what is asked for now counts, as its learning rate does.
        group["betas"], group["weight_decay"] = config.betas, config.weight_decay
    if main:
        write_settings(task, out)
        cut_log(out, progress.step)
    progress.average = {name: value.to(accelerator.device) for name, value in progress.average.items()}
    network, optimiser = accelerator.prepare(task.trained, optimiser)
    task.model.to(accelerator.device)
    if config.compile:
        network = torch.compile(network)

    began, before = time.monotonic(), progress.seconds
    bar = tqdm(total=config.steps, initial=progress.step, unit="step", disable=not main)
    while progress.step < config.steps and not _time_is_over(accelerator, began, max_minutes):
        values = _step(task, config, accelerator, network, optimiser, progress.step, out)
        progress.step += 1
        progress.seconds = before + time.monotonic() - began
        if progress.average:
            decay = min(config.ema, (1 + progress.step) / (10 + progress.step))
            _average(progress.average, task.trained.state_dict(), decay)
        for name, value in values.items():
            progress.unlogged.setdefault(name, []).append(value)
        bar.update()
        last = progress.step == config.steps
        if last or progress.step % config.checkpoint_every == 0:
            _check_weights(task.trained, progress.step, out)
        if progress.step % config.log_every == 0 or last:
            row = _row(progress, config)
            bar.set_postfix(loss=f"{row['loss']:.4f}")
            if main:
                append_row(out, row)
        if main and after_step is not None:
            after_step(progress.step)
        if main and (progress.step % config.checkpoint_every == 0 or last):
            write_checkpoint(task, optimiser, progress, out)
    bar.close()
    if main and progress.step < config.steps and progress.step % config.checkpoint_every:
        write_checkpoint(task, optimiser, progress, out)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return progress.step >= config.steps


def trained_weights(out: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Weights of the trained module in the last checkpoint, averaged if they are, and the whole checkpoint."""
    state = read_checkpoint(out)
    return state["average"] or state["trained"], state


def _step(
    task: TrainingTask,
    config: Optimisation,
    accelerator: Accelerator,
    network: nn.Module,
    optimiser: Any,
    step: int,
    out: Path,
) -> dict[str, float]:
    """One optimiser step; gives the mean of each logged value over passes and processes."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, config)
    passes: list[Mapping[str, Tensor]] = []
    values: dict[str, float] = {}
    for index in range(config.accumulate):
        number = accelerator.process_index + index * accelerator.num_processes
        with accelerator.accumulate(network):
            measured = task.loss(network, step, np.random.default_rng([config.seed, step, number]))
            accelerator.backward(measured["loss"])
            passes.append({name: value.detach().float() for name, value in measured.items()})
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(network.parameters(), config.clip)
                values = _means(accelerator, passes)
                _check_finite(values["loss"], float(norm), step, out)
            optimiser.step()
            optimiser.zero_grad()
    return values


def _means(accelerator: Accelerator, passes: list[Mapping[str, Tensor]]) -> dict[str, float]:
    names = list(passes[0])
    means = torch.stack([torch.stack([values[name] for values in passes]).mean() for name in names])
    return dict(zip(names, accelerator.reduce(means, reduction="mean").tolist(), strict=True))


def _check_finite(loss: float, norm: float, step: int, out: Path) -> None:
    """Stop before a step that would ruin the weights; the norm is the same in all processes."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient has the norm {norm}"
    raise ValueError(
        f"the {what} at step {step + 1} of the training in {out}, so it stops ({_kept(out)}); check the data "
        "for values that are not finite, or choose a smaller learning rate"
    )


def _check_weights(trained: nn.Module, step: int, out: Path) -> None:
    """Stop before weights that no training can continue from replace those of the last checkpoint."""
    for name, values in trained.state_dict().items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise ValueError(
                f"the weights ({name}) are not finite after step {step} of the training in {out}, so it stops "
                f"({_kept(out)}); choose a smaller learning rate or weight decay"
            )


def _kept(out: Path) -> str:
    path = out / CHECKPOINT_FILE
    return f"the last checkpoint, {path}, is kept" if path.exists() else "there is no checkpoint yet"


def _row(progress: Progress, config: Optimisation) -> dict[str, float]:
    """The next line of the log; the values it sums up are forgotten."""
    means = {name: float(np.mean(values)) for name, values in progress.unlogged.items()}
    progress.unlogged.clear()
    return {
        "step": progress.step,
        **means,
        "lr": learning_rate(progress.step, config),
        "seconds": round(progress.seconds, 2),
    }


def _time_is_over(accelerator: Accelerator, began: float, minutes: float) -> bool:
    """Whether the time is over on any process; all have to stop at the same step."""
    if math.isinf(minutes):
        return False
    over = torch.tensor(float((time.monotonic() - began) / 60 > minutes), device=accelerator.device)
    return bool(accelerator.reduce(over) > 0)


@torch.no_grad()
def _average(average: dict[str, Tensor], now: Mapping[str, Tensor], decay: float) -> None:
    names = [name for name in average if average[name].is_floating_point()]
    torch._foreach_lerp_([average[name] for name in names], [now[name] for name in names], 1 - decay)
