"""A perceptual loss for robots: small networks that read poses from frames.

The squared error of pixels hardly sees the shading of a few pixels from which a policy reads how far away the hand
is.  So networks are taught to read measured quantities (the positions of hand and object) from recorded frames, and
a world model is asked to draw frames in which they find the same as in the recorded ones: a perceptual loss
(Johnson et al. 2016) whose networks look for what decides how policies act.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from safetensors.torch import save
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from real2sim.episodes.npz import read_dataset
from real2sim.files import atomic_write
from real2sim.model_folder import load_tensors, read_tensors

READING = 5.0
"""Weight of the readings relative to that of the features."""


@dataclass(frozen=True)
class PerceptionConfig:
    """A perceptual loss with networks that read poses from frames."""

    weight: float = 0.0
    """Weight of this loss beside the pixel loss; 0 leaves it out."""
    targets: tuple[str, ...] = ()
    """Arrays (t) or (t n) of the dataset that the networks learn to read from single frames; for the drawer robot by
    default its hand and its drawer."""
    networks: int = 2
    """Number of networks: frames that fool one network seldom fool several."""
    steps: int = 1500
    """Optimiser steps per network."""
    batch: int = 64
    """Frames per step."""
    learning_rate: float = 2e-3
    width: int = 24
    """Channels at half of the image's size; twice as many at a quarter and an eighth."""


class Perception(nn.Module):
    """Reads ``outputs`` numbers from frames of ``height`` x ``width`` pixels."""

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int, outputs: int, height: int, width: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, channels, 5, stride=2, padding=2), nn.SiLU()),
                _stage(channels, 2 * channels),
                _stage(2 * channels, 2 * channels),
            ]
        )
        self.head = nn.Sequential(
            nn.Conv2d(2 * channels, 16, 1),
            nn.Flatten(),
            nn.SiLU(),
            nn.Linear(16 * math.ceil(height / 8) * math.ceil(width / 8), 96),
            nn.SiLU(),
            nn.Linear(96, outputs),
        )
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("spread", torch.ones(outputs))

    @torch.inference_mode()
    def read(self, frames: np.ndarray) -> np.ndarray:
        """The numbers (n outputs), in the units of the dataset, for frames uint8 (n h w 3)."""
        read: np.ndarray = (self(_to_network(frames))[1] * self.spread + self.mean).numpy()
        return read

    def forward(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features (n c h w) of each stage and the numbers (n outputs), standardised, for frames (n 3 h w) in
        [-1, 1]."""
        features = []
        for stage in self.stages:
            frames = stage(frames)
            features.append(frames)
        return features, self.head(frames)


def _to_network(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def _stage(channels: int, wider: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, wider, 3, stride=2, padding=1),
        nn.GroupNorm(8, wider),
        nn.SiLU(),
        nn.Conv2d(wider, wider, 3, padding=1),
        nn.GroupNorm(8, wider),
        nn.SiLU(),
    )


def perceptual_loss(networks: nn.ModuleList, drawn: Tensor, recorded: Tensor) -> Tensor:
    """How differently ``networks`` see drawn and recorded frames (n 3 h w), in [-1, 1]; one number.

    The squared difference of what they read, times ``READING``, plus that of each stage's features relative to
    their size.
    """
    losses = []
    for network in networks:
        with torch.no_grad():
            seen, read = network(recorded)
        found, numbers = network(drawn)
        losses.append(READING * (numbers - read).square().mean())
        losses += [
            (a - b).square().mean() / b.square().mean().clamp(min=1e-6)
            for a, b in zip(found, seen, strict=True)
        ]
    return torch.stack(losses).sum() / len(networks)


def perceptions(config: PerceptionConfig, data: Path, out: Path) -> nn.ModuleList:
    """The frozen networks of a training; trained on the dataset the first time, then kept in ``out``."""
    if not config.targets:
        raise ValueError(
            f"a loss on what is seen in frames was asked for, and no array of {data} to see; name some with "
            "--perception.targets, or set --perception.weight to 0"
        )
    file = out / "perception.safetensors"
    # As an Accelerator reads it, which is made later and takes over this state.
    with PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).main_process_first():
        if not file.exists():
            _teach(config, data, file)
        weights = read_tensors(file)
    height, width, outputs = (int(size) for size in weights.pop("shape"))
    networks = nn.ModuleList(Perception(config.width, outputs, height, width) for _ in range(config.networks))
    load_tensors(networks, weights, str(file))
    return networks.requires_grad_(False).eval()


def _teach(config: PerceptionConfig, data: Path, file: Path) -> None:
    dataset = read_dataset(data, ("image", *config.targets))
    images = dataset["image"]
    numbers = np.concatenate([_columns(dataset[name]) for name in config.targets], axis=-1)
    numbers = numbers.astype(np.float32)
    shape = (*images.shape[2:4], numbers.shape[-1])
    networks = nn.ModuleList(_taught(config, images, numbers, seed) for seed in range(config.networks))
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as stream:
        stream.write(save({**networks.state_dict(), "shape": torch.tensor(shape)}))


def _columns(values: np.ndarray) -> np.ndarray:
    """(e t) or (e t n) as (e t n)."""
    return values[..., None] if values.ndim == 2 else values


def _taught(config: PerceptionConfig, images: np.ndarray, numbers: np.ndarray, seed: int) -> Perception:
    """A network after its training; frames are noisy, half of them blurred, as drawn ones are."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Perception(config.width, numbers.shape[-1], *images.shape[2:4])
    network.mean.copy_(torch.from_numpy(numbers.mean(axis=(0, 1))))
    network.spread.copy_(torch.from_numpy(numbers.std(axis=(0, 1)).clip(min=1e-6)))
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps, pct_start=0.1
    )
    for _ in tqdm(range(config.steps), desc=f"perception {seed}", unit="step"):
        episodes = rng.integers(len(images), size=config.batch)
        times = rng.integers(images.shape[1], size=config.batch)
        frames = images[episodes, times].astype(np.float32) / 127.5 - 1
        if rng.random() < 0.5:
            blur = rng.uniform(0.3, 1.2)
            frames = gaussian_filter(frames, (0, blur, blur, 0), mode="nearest")
        frames += rng.uniform(0, 0.06) * rng.standard_normal(frames.shape, dtype=np.float32)
        read = network(torch.from_numpy(frames).permute(0, 3, 1, 2))[1]
        wanted = (torch.from_numpy(numbers[episodes, times]) - network.mean) / network.spread
        loss = F.smooth_l1_loss(read, wanted, beta=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network
