"""A small world model as a batch of lanes with a state: ``reset`` to start frames, ``step`` with actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from real2sim.model_building import build_module
from real2sim.model_folder import (
    WEIGHTS_FILE,
    read_config,
    read_tensors,
    write_folder,
)
from real2sim.robot import Robot, robot_text
from real2sim.vid2world.ddim import guide, mix, noise_in, split_velocity, twice
from real2sim.vid2world.first_frames import after_past
from real2sim.vid2world.lane_state import WorldState
from real2sim.vid2world.network.frame_cache import FrameCache
from real2sim.vid2world.network.unet import CausalUNet
from real2sim.vid2world.noise import CONTEXT, batch_noise
from real2sim.vid2world.pixel_patches import PixelPatches
from real2sim.vid2world.schedule import DDIMTable, Spacing, ddim_table, ddim_timesteps, vid2world_schedule
from real2sim.vid2world.state_conditioning import StateConditioning
from real2sim.vid2world.state_head import start_states
from real2sim.vid2world.world_model_config import WorldModelConfig

if TYPE_CHECKING:
    from real2sim.vid2world.load import SamplingOverrides

KIND = "world_model"


class WorldModel(StateConditioning):
    """Draws the next camera frame from the past ones and the action (Vid2World's causal U-Net on pixel patches)."""

    action_scale: Tensor

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__(config)
        self.config = config
        self.unet = CausalUNet(config.unet)
        self.first_stage = PixelPatches(config.height, config.width, config.patch)
        self.register_buffer("action_scale", torch.tensor(config.action_scale), persistent=False)

    @classmethod
    def from_folder(cls, folder: Path | str) -> WorldModel:
        """The model of a folder written by ``save``; ready to draw."""
        folder = Path(folder)
        config, path = read_config(folder, KIND, WorldModelConfig), folder / WEIGHTS_FILE
        tensors = read_tensors(path)
        model = build_module(lambda: cls(config), tensors, str(path))
        for parameter in model.unet.parameters():
            if parameter.ndim == 4:
                # Features are channels-last; with weights laid out so too, none is copied for each pass.
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
            elif parameter.ndim == 5:
                # Convolutions over time read one matrix per frame.
                parameter.data = parameter.data.permute(2, 0, 1, 3, 4).contiguous().permute(1, 2, 0, 3, 4)
        return model.eval()

    def save(self, folder: Path, card: str, robot: Robot | None = None) -> None:
        """Write the model folder; weights are stored as float16."""
        texts = robot_text(robot)
        write_folder(folder, KIND, self.config, self.state_dict(), card, half=True, texts=texts)

    @property
    def action_width(self) -> int:
        """Numbers of the action that leads to a frame."""
        return len(self.config.action_scale)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.action_scale.device

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a frame, pixels."""
        return self.config.image_size

    def override_sampling(self, sampling: SamplingOverrides) -> None:
        """Apply sampling overrides."""
        for name in ("history", "context"):
            if getattr(sampling, name) is not None:
                raise ValueError(
                    f"--{name} is for released weights; models trained here need none, leave it out"
                )
        settings = sampling.settings()
        if settings and self.config.draws_from == "state":
            raise ValueError(
                f"--{next(iter(settings))} is for world models that denoise; this one draws a frame from its state "
                "in one pass, leave it out"
            )
        self.config = replace(self.config, **settings)
        if sampling.precision is not None:
            # The first stage has no weights; its pixels stay exact.
            self.unet.to(getattr(torch, sampling.precision))
        if sampling.compile:
            self.unet.compile_passes()

    def robot_state(self, state: WorldState) -> np.ndarray:
        """The state of the robot at the newest frames, float32 (b numbers), in the order of ``state_names``."""
        if state.robot is None:
            raise ValueError("this world model knows no robot state")
        return state.robot.cpu().numpy().copy()

    @property
    def frame_passes_per_frame(self) -> int:
        """U-Net passes over one frame that a new frame costs: its denoising steps, doubled by guidance, and one
        to remember the frame before."""
        if self.config.draws_from == "state":
            return 1
        return len(self.table) * (1 if self.config.guidance == 1 else 2) + 1

    def scaled(self, actions: Tensor) -> Tensor:
        """Actions (... n) in the units of the network; parts that the robot does not have become zero."""
        return actions * self.action_scale

    @torch.inference_mode()
    def reset(
        self,
        frames: np.ndarray,
        seeds: Sequence[int],
        states: np.ndarray | None = None,
        *,
        past: np.ndarray | None = None,
        past_actions: np.ndarray | None = None,
    ) -> WorldState:
        """Lanes that stand at their start frames, uint8 (b h w 3), one noise seed each, and the robot's ``states``
        (b numbers) there if the model knows of them.

        ``past`` uint8 (b p h w 3) are the frames before, oldest first, and ``past_actions`` (b p n) what led from each
        to the next. A model that draws from states needs none of them: it begins at the newest frame and its state.
        """
        if not len(frames):
            raise ValueError("there are no start frames; a world model needs at least one lane")
        remembers = self.config.draws_from == "frames"
        if remembers and past is not None and past_actions is not None and past.shape[1]:
            return after_past(self, frames, seeds, past, past_actions)
        expected = (self.config.height, self.config.width, 3)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != expected:
            raise ValueError(
                f"start frames are {frames.dtype} {frames.shape}, expected uint8 (b, {', '.join(map(str, expected))})"
            )
        if len(seeds) != len(frames):
            raise ValueError(f"{len(frames)} start frames came with {len(seeds)} seeds; each lane needs one")
        shown = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        start = self.first_stage.encode(shown[:, None])
        no_action = torch.zeros(len(frames), 1, self.action_width, device=self.device)
        seeds = tuple(int(seed) for seed in seeds)
        cache = None
        if remembers:
            cache = self.unet.blank_cache(len(frames), *start.shape[-2:])
        robot = start_states(self.config.state, states, len(frames), self.device)
        return WorldState(
            seeds,
            (1,) * len(seeds),
            cache=cache,
            newest=start,
            newest_actions=no_action,
            condition=start,
            robot=robot,
            motion=None if robot is None else torch.zeros_like(robot),
        )

    @torch.inference_mode()
    def step(self, state: WorldState, actions: np.ndarray) -> tuple[np.ndarray, WorldState]:
        """The next frames uint8 (b h w 3) after ``actions`` float32 (b n), and the state with them in it."""
        expected = (len(state.seeds), self.action_width)
        if actions.shape != expected:
            raise ValueError(f"actions have shape {actions.shape}, expected {expected}")
        state.check_finite(actions)
        given = torch.from_numpy(np.asarray(actions, np.float32)).to(self.device)
        scaled_actions = self.scaled(given)[:, None]
        robot = motion = None
        if self.state_head is not None:
            robot, motion = self.state_head(state.robot, given, state.motion)
        latents, cache = self.draw(state, scaled_actions, robot)
        state.check_drawn(latents)
        frames = self.first_stage.decode(latents)[:, 0].cpu().numpy()
        state = replace(state, frames=tuple(frame + 1 for frame in state.frames), robot=robot, motion=motion)
        return frames, replace(state, cache=cache, newest=latents, newest_actions=scaled_actions)

    @property
    def table(self) -> DDIMTable:
        """The denoising steps of a frame."""
        return _table(self.config.steps, self.config.spacing, self.config.eta)

    def draw(
        self, state: WorldState, scaled_actions: Tensor, robot: Tensor | None = None
    ) -> tuple[Tensor, FrameCache | None]:
        """Latents (b c 1 h w) of the next frames, given scaled actions (b 1 n) and the states to come (b numbers), and
        the cache with the frames before them."""
        if self.config.draws_from == "state":
            assert robot is not None
            return self.first_stage.clamp(self.rendered(self.unet, state.condition, robot[:, None])[0]), None
        return self._denoise(state, scaled_actions, robot)

    def _denoise(
        self, state: WorldState, scaled_actions: Tensor, robot: Tensor | None
    ) -> tuple[Tensor, FrameCache]:
        """The next frames by DDIM."""
        config, table, condition = self.config, self.table, state.condition
        assert state.cache is not None
        now = then = both_states = None
        if robot is not None and state.robot is not None:
            then, now = state.robot[:, None], robot[:, None]
            both_states = torch.cat([then, now], dim=1)
        past = self.as_history(state.newest, state.seeds, [frame - 1 for frame in state.frames])
        x, cache = self.noise(state.seeds, state.frames, 0), state.cache
        at_history = (config.context_level,)
        clean = x
        if config.guidance != 1:
            # The branches of guidance read one history, so it is written before they part.
            cache = self.predict(
                past, at_history, state.newest_actions, condition, cache, remember=1, robot=then
            )[1]
        for draw, step in enumerate(reversed(range(len(table)))):
            level = (table.timesteps[step],)
            if config.guidance != 1:
                prediction = self._guided(x, level, scaled_actions, condition, cache, now)
            elif draw == 0:
                # One pass writes the frame before into the history and begins the new one.
                both, actions = (
                    torch.cat([past, x], dim=2),
                    torch.cat([state.newest_actions, scaled_actions], dim=1),
                )
                found, cache = self.predict(
                    both, at_history + level, actions, condition, cache, remember=1, robot=both_states
                )
                prediction = found[:, :, 1:]
            else:
                prediction, _ = self.predict(x, level, scaled_actions, condition, cache, robot=now)
            prediction, _ = self.gated(prediction, condition)
            fresh = self.noise(state.seeds, state.frames, draw + 1) if config.eta > 0 else None
            clean, x = self.denoised(x, prediction, step, fresh)
        return clean, cache

    def denoised(
        self, x: Tensor, prediction: Tensor, step: int, fresh: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The clean frame that the network's prediction for ``x`` means, and ``x`` after step ``step`` of the table.

        What leaves the range of pixels is cut off, so the noise is what remains beside the cut frame."""
        table = self.table
        if self.config.prediction == "v":
            prediction = split_velocity(x, prediction, table.alphas[step])[0]
        clean = self.first_stage.clamp(prediction)
        if step == 0:
            return clean, clean
        noise = noise_in(x, clean, table.alphas[step])
        return clean, mix(clean, noise, table.alphas_next[step], sigma=table.sigmas[step], fresh=fresh)

    def predict(
        self,
        x: Tensor,
        levels: Sequence[int],
        scaled_actions: Tensor,
        condition: Tensor,
        cache: FrameCache,
        remember: int = 0,
        known: Tensor | None = None,
        robot: Tensor | None = None,
    ) -> tuple[Tensor, FrameCache]:
        lanes, _, frames = x.shape[:3]
        x = self.with_pose_map(torch.cat([x, condition.expand(-1, -1, frames, -1, -1)], dim=1), robot)
        timesteps = torch.tensor(levels, dtype=torch.float32, device=self.device).expand(lanes, -1)
        states = None if robot is None else self.standardised(robot)
        return self.unet.step(
            x,
            timesteps,
            cache,
            actions=scaled_actions,
            action_mask=known,
            states=states,
            remember=remember,
        )

    def _guided(
        self,
        x: Tensor,
        level: Sequence[int],
        scaled_actions: Tensor,
        condition: Tensor,
        cache: FrameCache,
        robot: Tensor | None,
    ) -> Tensor:
        """Prediction moved away from the one that does not know the action; both are one batch."""
        known = torch.ones(2 * len(x), 1, device=self.device)
        known[len(x) :] = 0
        branches = cache.repeat(2)
        states = None if robot is None else twice(robot)
        both, _ = self.predict(
            twice(x), level, twice(scaled_actions), twice(condition), branches, known=known, robot=states
        )
        conditional, unconditional = both.chunk(2)
        return guide(conditional, unconditional, self.config.guidance)

    def as_history(self, clean: Tensor, seeds: Sequence[int], frames: Sequence[int]) -> Tensor:
        """Finished frames (b c 1 h w) as they enter the history: slightly noised, as in training."""
        signal = float(vid2world_schedule().alphas_cumprod[self.config.context_level])
        return mix(clean, self.noise(seeds, frames, CONTEXT), signal)

    def noise(self, seeds: Sequence[int], frames: Sequence[int], draw: int) -> Tensor:
        """Noise (b c 1 h w) of each lane's frame: draw 0 starts it, draw k is added after its k-th step."""
        return batch_noise(seeds, frames, draw, self.config.latent_shape)[:, :, None].to(self.device)


@lru_cache(maxsize=8)
def _table(steps: int, spacing: Spacing, eta: float) -> DDIMTable:
    return ddim_table(vid2world_schedule(), ddim_timesteps(steps, spacing), eta)
