"""A world model drawn without a cache: every denoising step passes over the whole window again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from real2sim.vid2world.ddim import guide, twice
from real2sim.vid2world.world_model import WorldModel


@dataclass(frozen=True)
class Window:
    """The last frames of each lane."""

    latents: Tensor
    """As they were drawn (b c t h w)."""
    noisy: Tensor
    """As the network sees them (b c t h w)."""
    newest_actions: Tensor
    """Scaled action that led to each (b t 13)."""
    condition: Tensor
    """Latent of the start frame (b c 1 h w)."""
    seeds: tuple[int, ...]
    frames: tuple[int, ...]
    """Index of each lane's next frame."""


class Windowed:
    """Draws what ``model`` draws, from the same noise, with passes over up to ``history`` frames and the new one."""

    def __init__(self, model: WorldModel, history: int) -> None:
        self.model, self.history = model, history

    @torch.inference_mode()
    def reset(self, frames: np.ndarray, seeds: Sequence[int]) -> Window:
        """Lanes that stand at their start frames, uint8 (b h w 3)."""
        state = self.model.reset(frames, seeds)
        noisy = self.model.as_history(state.newest, state.seeds, (0,) * len(seeds))
        return Window(state.newest, noisy, state.newest_actions, state.condition, state.seeds, state.frames)

    @torch.inference_mode()
    def step(self, window: Window, actions: np.ndarray) -> tuple[np.ndarray, Window]:
        """The next frames uint8 (b h w 3) after ``actions`` (b 13), and the window with them in it."""
        model = self.model
        action = model.scaled(torch.from_numpy(np.asarray(actions, np.float32)).to(model.device))[:, None]
        scaled_actions = torch.cat([window.newest_actions, action], dim=1)
        x = clean = model.noise(window.seeds, window.frames, 0)
        for draw, step in enumerate(reversed(range(len(model.table)))):
            prediction = self._predict(window, x, float(model.table.timesteps[step]), scaled_actions)
            fresh = model.noise(window.seeds, window.frames, draw + 1) if model.config.eta > 0 else None
            clean, x = model.denoised(x, prediction, step, fresh)
        after = replace(
            window,
            latents=torch.cat([window.latents, clean], dim=2)[:, :, -self.history :],
            noisy=torch.cat([window.noisy, model.as_history(clean, window.seeds, window.frames)], dim=2)[
                :, :, -self.history :
            ],
            newest_actions=scaled_actions[:, -self.history :],
            frames=tuple(frame + 1 for frame in window.frames),
        )
        return model.first_stage.decode(clean)[:, 0].cpu().numpy(), after

    def _predict(self, window: Window, x: Tensor, level: float, scaled_actions: Tensor) -> Tensor:
        model, frames = self.model, torch.cat([window.noisy, x], dim=2)
        x = torch.cat([frames, window.condition.expand(-1, -1, frames.shape[2], -1, -1)], dim=1)
        levels = torch.full(scaled_actions.shape[:2], float(model.config.context_level), device=model.device)
        levels[:, -1] = level
        if model.config.guidance == 1:
            return model.unet(x, levels, actions=scaled_actions)[:, :, -1:]
        known = torch.ones_like(twice(levels))
        known[len(levels) :, -1] = 0
        both = model.unet(twice(x), twice(levels), actions=twice(scaled_actions), action_mask=known)[
            :, :, -1:
        ]
        conditional, unconditional = both.chunk(2)
        return guide(conditional, unconditional, model.config.guidance)
