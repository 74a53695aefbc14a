"""Training of a world model: Diffusion Forcing on windows of recorded episodes, resumable at any moment."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from real2sim.atomic import replacing
from real2sim.model_folder import config_from_dict, config_to_dict, read_json, write_text
from real2sim.vid2world.diffusion_forcing import Window, add_noise, clean_from, draw_levels, forcing_loss
from real2sim.vid2world.levels import signal_levels
from real2sim.vid2world.windows import WindowSource
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import ForcingConfig, Optimisation, WorldModelConfig


@dataclass(frozen=True)
class TrainWorldModel:
    """Train a world model on a dataset folder; a stopped training continues where it was."""

    data: Path
    """Dataset folder: one npz per episode with image (t h w 3) and action (t 13)."""
    out: Path
    """Folder of the training: checkpoint, log and the finished model in ``model/``."""
    model: WorldModelConfig = field(default_factory=WorldModelConfig.drawer)
    forcing: ForcingConfig = ForcingConfig()
    optimisation: Optimisation = Optimisation()
    max_minutes: float = math.inf
    """Stop (resumably) after this many minutes."""


def learning_rate(step: int, config: Optimisation) -> float:
    """Linear warm-up, constant, then a cosine to zero from ``decay_from`` on."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    begin = config.decay_from * config.steps
    if step < begin:
        return config.learning_rate
    return (
        config.learning_rate
        * 0.5
        * (1 + math.cos(math.pi * min(1.0, (step - begin) / (config.steps - begin))))
    )


def train_world_model(config: TrainWorldModel) -> Path | None:
    """Run (or continue) a training; gives the folder of the finished model, or None if time ran out before."""
    optimisation = config.optimisation
    accelerator = Accelerator(mixed_precision=optimisation.mixed_precision)
    source = WindowSource(config.data, optimisation.frames)
    torch.manual_seed(optimisation.seed)
    model = WorldModel(config.model)
    sample = np.random.default_rng(optimisation.seed).integers(len(source), size=min(len(source), 300))
    model.first_stage.fit(
        source.images[sample, :: max(1, source.images.shape[1] // 4)].reshape(-1, *source.images.shape[2:])
    )
    average = {name: value.detach().clone() for name, value in model.unet.state_dict().items()}
    optimiser = torch.optim.AdamW(
        model.unet.parameters(),
        lr=optimisation.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=optimisation.weight_decay,
    )
    step = _restore(config, model, average, optimiser)
    unet, optimiser = accelerator.prepare(model.unet, optimiser)
    model.to(accelerator.device)
    if optimisation.compile:
        unet = torch.compile(unet)

    began, losses = time.monotonic(), []
    bar = tqdm(total=optimisation.steps, initial=step, unit="step", disable=not accelerator.is_main_process)
    while step < optimisation.steps:
        if (time.monotonic() - began) / 60 > config.max_minutes:
            break
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, optimisation)
        rng = np.random.default_rng([optimisation.seed, step, accelerator.process_index])
        window = source.draw(model, optimisation.windows, rng)
        loss = _loss(unet, window, config, step, rng)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(unet.parameters(), optimisation.clip)
        optimiser.step()
        optimiser.zero_grad()
        step += 1
        _average(
            average,
            accelerator.unwrap_model(unet).state_dict(),
            min(optimisation.ema, (1 + step) / (10 + step)),
        )
        losses.append(float(loss.detach()))
        bar.update()
        if accelerator.is_main_process and step % 20 == 0:
            row = {
                "step": step,
                "loss": float(np.mean(losses)),
                "lr": learning_rate(step, optimisation),
                "seconds": time.monotonic() - began,
            }
            _log(config.out, row)
            bar.set_postfix(loss=f"{row['loss']:.4f}")
            losses.clear()
        if accelerator.is_main_process and (
            step % optimisation.checkpoint_every == 0 or step == optimisation.steps
        ):
            _checkpoint(config, accelerator.unwrap_model(unet), average, optimiser, model, step)
    bar.close()
    if accelerator.is_main_process:
        _checkpoint(config, accelerator.unwrap_model(unet), average, optimiser, model, step)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if step < optimisation.steps:
        return None
    folder = config.out / "model"
    if accelerator.is_main_process:
        export(config.out, folder)
    return folder


def _loss(
    unet: torch.nn.Module, window: Window, config: TrainWorldModel, step: int, rng: np.random.Generator
) -> Tensor:
    forcing, lanes, frames = config.forcing, window.latents.shape[0], window.latents.shape[2]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    device = window.latents.device
    signal = signal_levels().to(device)
    levels = draw_levels(forcing, lanes, frames, generator).to(device)
    noise = torch.randn(window.latents.shape, generator=generator).to(device)
    told = (torch.rand((lanes, frames), generator=generator) >= forcing.action_dropout).float().to(device)
    history = window.latents
    if step >= (1 - forcing.own_history) * config.optimisation.steps:
        history = _own_drawings(unet, window, told, config.model.prediction, generator)
    alpha = signal[levels]
    # Only nearly clean frames are history; replacing the others would change what the target is.
    x = add_noise(
        torch.where((levels < forcing.clean_below)[:, None, :, None, None], history, window.latents),
        noise,
        alpha,
    )
    prediction = _predict(unet, x, window, levels, told)
    return forcing_loss(
        prediction.float(), x, window, levels, alpha, config.model.prediction, forcing.motion_weight
    )


def _predict(unet: torch.nn.Module, x: Tensor, window: Window, levels: Tensor, told: Tensor) -> Tensor:
    condition = window.condition.expand(-1, -1, x.shape[2], -1, -1)
    prediction: Tensor = unet(
        torch.cat([x, condition], dim=1), levels.float(), actions=window.actions, action_mask=told
    )
    return prediction


@torch.no_grad()
def _own_drawings(
    unet: torch.nn.Module, window: Window, told: Tensor, kind: str, generator: torch.Generator
) -> Tensor:
    """The window with half of its later frames replaced by what the model draws for them in one step."""
    latents, signal = window.latents, signal_levels().to(window.latents.device)
    lanes, frames = latents.shape[0], latents.shape[2]
    drawn = torch.rand((lanes, frames), generator=generator).to(latents.device) < 0.5
    drawn[:, 0] = False
    levels = torch.where(drawn, 999, 20)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    alpha = signal[levels]
    x = add_noise(latents, noise, alpha)
    clean = clean_from(_predict(unet, x, window, levels, told).float(), x, alpha, kind)
    return torch.where(drawn[:, None, :, None, None], clean, latents)


@torch.no_grad()
def _average(average: dict[str, Tensor], now: dict[str, Tensor], decay: float) -> None:
    names = [name for name in average if average[name].is_floating_point()]
    torch._foreach_lerp_(
        [average[name] for name in names], [now[name].to(average[name].device) for name in names], 1 - decay
    )


def _log(out: Path, row: dict[str, Any]) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _checkpoint(
    config: TrainWorldModel,
    unet: torch.nn.Module,
    average: dict[str, Tensor],
    optimiser: Any,
    model: WorldModel,
    step: int,
) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    state = {
        "step": step,
        "unet": unet.state_dict(),
        "average": average,
        "optimiser": optimiser.state_dict(),
        "first_stage": model.first_stage.state_dict(),
    }
    with replacing(config.out / "checkpoint.pt") as file:
        torch.save(state, file)


def _restore(
    config: TrainWorldModel, model: WorldModel, average: dict[str, Tensor], optimiser: torch.optim.Optimizer
) -> int:
    described = {"model": config.model, "forcing": config.forcing, "optimisation": config.optimisation}
    written = json.dumps(config_to_dict(described), indent=2) + "\n"
    path = config.out / "checkpoint.pt"
    if not path.exists():
        config.out.mkdir(parents=True, exist_ok=True)
        write_text(config.out / "training.json", written)
        return 0
    before = config_from_dict(
        WorldModelConfig, read_json(config.out / "training.json")["model"], "training.json"
    )
    if before != config.model:
        raise ValueError(
            f"{config.out} holds a training of another configuration of the model; continue with that one, "
            "or choose another folder"
        )
    write_text(config.out / "training.json", written)
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.unet.load_state_dict(state["unet"])
    model.first_stage.load_state_dict(state["first_stage"])
    for name, value in state["average"].items():
        average[name].copy_(value)
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def export(
    out: Path, folder: Path, card: str = "# World model\n\nWritten by `real2sim train world-model`.\n"
) -> None:
    """Write the model folder of a training from its last checkpoint, with the averaged weights."""
    described = read_json(out / "training.json")
    model = WorldModel(config_from_dict(WorldModelConfig, described["model"], str(out / "training.json")))
    state = torch.load(out / "checkpoint.pt", map_location="cpu", weights_only=True)
    model.unet.load_state_dict(state["average"])
    model.first_stage.load_state_dict(state["first_stage"])
    model.save(folder, card)
