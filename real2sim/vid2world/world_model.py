"""A small world model as a batch of lanes with a state: ``reset`` to start frames, ``step`` with actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from real2sim.actions import WIDTH
from real2sim.model_folder import WEIGHTS_FILE, load_weights, read_config, write_folder
from real2sim.vid2world.diffusion_forcing import clean_from
from real2sim.vid2world.frame_cache import FrameCache
from real2sim.vid2world.levels import signal_levels
from real2sim.vid2world.noise import CONTEXT, batch_noise
from real2sim.vid2world.pixel_patches import PixelPatches
from real2sim.vid2world.schedule import ddim_timesteps
from real2sim.vid2world.unet import CausalUNet
from real2sim.vid2world.world_model_config import WorldModelConfig

KIND = "world_model"


@dataclass(frozen=True)
class WorldState:
    """What a world model remembers of its lanes; made by ``reset`` and ``step``, never changed."""

    cache: FrameCache
    condition: Tensor
    """Latent of each lane's start frame (b c 1 h w)."""
    seeds: tuple[int, ...]
    frame: int
    """Index of the next frame; the start frame is 0."""

    def select(self, indices: Sequence[int]) -> WorldState:
        """The state of some lanes only, in the given order."""
        rows = torch.as_tensor(np.asarray(indices, dtype=np.int64), device=self.condition.device)
        return replace(
            self,
            cache=self.cache.select(rows),
            condition=self.condition[rows],
            seeds=tuple(self.seeds[int(row)] for row in rows),
        )


class WorldModel(nn.Module):
    """Draws the next camera frame from the past ones and the action (Vid2World's causal U-Net on pixel patches)."""

    action_scale: Tensor

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = CausalUNet(config.unet)
        self.first_stage = PixelPatches(config.height, config.width, config.patch)
        self.register_buffer("action_scale", torch.tensor(config.action_scale), persistent=False)

    @classmethod
    def from_folder(cls, folder: Path | str) -> WorldModel:
        """The model of a folder written by ``save``; ready to draw."""
        folder = Path(folder)
        model = cls(read_config(folder, KIND, WorldModelConfig))
        load_weights(model, folder / WEIGHTS_FILE)
        return model.eval()

    def save(self, folder: Path, card: str) -> None:
        """Write the model folder; weights are stored as float16."""
        write_folder(folder, KIND, self.config, self.state_dict(), card, half=True)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.action_scale.device

    @property
    def frame_passes_per_frame(self) -> int:
        """U-Net passes over one frame that a new frame costs: the denoising steps and one to remember it."""
        return self.config.steps + 1

    def scaled(self, actions: Tensor) -> Tensor:
        """Actions (... 13) in the units of the network; parts that the robot does not have become zero."""
        return actions * self.action_scale

    @torch.inference_mode()
    def reset(self, frames: np.ndarray, seeds: Sequence[int]) -> WorldState:
        """Lanes that stand at their start frames, uint8 (b h w 3), one noise seed each."""
        expected = (self.config.height, self.config.width, 3)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != expected:
            raise ValueError(
                f"start frames are {frames.dtype} {frames.shape}, expected uint8 (b, {', '.join(map(str, expected))})"
            )
        if len(seeds) != len(frames):
            raise ValueError(f"{len(frames)} start frames came with {len(seeds)} seeds; each lane needs one")
        shown = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        condition = self.first_stage.encode(shown[:, None])
        seeds = tuple(int(seed) for seed in seeds)
        state = WorldState(self.unet.empty_cache(), condition, seeds, 0)
        return self._remember(state, condition, torch.zeros(len(frames), 1, WIDTH, device=self.device))

    @torch.inference_mode()
    def step(self, state: WorldState, actions: np.ndarray) -> tuple[np.ndarray, WorldState]:
        """The next frames uint8 (b h w 3) after ``actions`` float32 (b 13), and the state with them in it."""
        if actions.shape != (len(state.seeds), WIDTH):
            raise ValueError(f"actions have shape {actions.shape}, expected ({len(state.seeds)}, {WIDTH})")
        if not np.isfinite(actions).all():
            lane = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
            raise ValueError(
                f"the action of lane {lane} at frame {state.frame} is not finite; check the policy"
            )
        told = self.scaled(torch.from_numpy(np.asarray(actions, np.float32)).to(self.device))[:, None]
        latents = self.draw(state, told)
        frames = self.first_stage.decode(latents)[:, 0].cpu().numpy()
        return frames, self._remember(state, latents, told)

    def draw(self, state: WorldState, told: Tensor) -> Tensor:
        """Latents (b c 1 h w) of the next frames by DDIM, given scaled actions (b 1 13)."""
        config = self.config
        signal = signal_levels().to(self.device)
        levels = ddim_timesteps(config.steps)[::-1]
        x = self._noise(state, 0)
        clean = x
        for index, level in enumerate(levels):
            now = signal[level]
            prediction = self._predict(state, x, level, told)[0]
            clean = self.first_stage.clamp(
                clean_from(prediction, x, now.expand(len(x), 1), config.prediction)
            )
            if index + 1 == len(levels):
                break
            following = signal[levels[index + 1]]
            noise = (x - now.sqrt() * clean) / (1 - now).sqrt()
            spread = config.eta * ((1 - following) / (1 - now) * (1 - now / following)).clamp(min=0).sqrt()
            x = following.sqrt() * clean + (1 - following - spread**2).clamp(min=0).sqrt() * noise
            if config.eta > 0:
                x = x + spread * self._noise(state, index + 1)
        return clean

    def _predict(self, state: WorldState, x: Tensor, level: int, told: Tensor) -> tuple[Tensor, FrameCache]:
        levels = torch.full((len(x), x.shape[2]), float(level), device=self.device)
        return self.unet.step(torch.cat([x, state.condition], dim=1), levels, state.cache, actions=told)

    def _noise(self, state: WorldState, step: int) -> Tensor:
        noise = batch_noise(state.seeds, state.frame, step, self.config.latent_shape)
        return noise[:, :, None].to(self.device)

    def _remember(self, state: WorldState, latents: Tensor, told: Tensor) -> WorldState:
        """The state after a finished frame, which enters the history slightly noised, as in training."""
        level = self.config.context_level
        signal = signal_levels()[level].to(self.device)
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * self._noise(state, CONTEXT)
        cache = self._predict(state, noisy, level, told)[1]
        return replace(state, cache=cache, frame=state.frame + 1)
