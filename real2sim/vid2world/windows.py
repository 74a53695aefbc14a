"""Training windows cut from a dataset folder that is held in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from real2sim.episodes.npz import read_dataset
from real2sim.vid2world.diffusion_forcing import Window
from real2sim.vid2world.world_model import WorldModel

START_SHARE = 0.35
"""Share of windows that begin where episodes begin: every rollout does."""


class WindowSource:
    """Draws windows of ``frames`` frames from all episodes of a folder."""

    def __init__(self, folder: Path, frames: int) -> None:
        data = read_dataset(folder)
        self.images, self.actions = data["image"], data["action"]
        if self.images.shape[1] < frames:
            raise ValueError(f"{folder}: episodes have {self.images.shape[1]} frames, windows need {frames}")
        self.frames = frames

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, model: WorldModel, count: int, rng: np.random.Generator) -> Window:
        """``count`` random windows as the model's latents and scaled actions."""
        episodes = rng.integers(len(self.images), size=count)
        last = self.images.shape[1] - self.frames
        offsets = np.where(rng.random(count) < START_SHARE, 0, rng.integers(last + 1, size=count))
        times = offsets[:, None] + np.arange(self.frames)
        frames = torch.from_numpy(self.images[episodes[:, None], times])
        first = torch.from_numpy(self.images[episodes, :1])
        # actions[i] leads from frame i to i + 1; the network is told, per frame, what led to it.
        led = self.actions[episodes[:, None], np.maximum(times - 1, 0)] * (times > 0)[..., None]
        with torch.no_grad():
            return Window(
                model.first_stage.encode(frames),
                model.first_stage.encode(first),
                model.scaled(torch.from_numpy(led.astype(np.float32))),
            )
