"""A small world model as a batch of lanes with a state: ``reset`` to start frames, ``step`` with actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from real2sim.checks import as_path
from real2sim.cuda_graphs import RecordedCalls
from real2sim.host_copies import to_device, to_host
from real2sim.model_building import build_module
from real2sim.model_folder import (
    WEIGHTS_FILE,
    read_config,
    read_tensors,
    write_folder,
)
from real2sim.robot import Robot, robot_text
from real2sim.vid2world.ddim import mix, noise_in, split_velocity
from real2sim.vid2world.denoise import denoise, noise_of_a_frame
from real2sim.vid2world.first_frames import after_past
from real2sim.vid2world.lane_state import (
    WorldState,
    check_action_array,
    check_lane_seeds,
    check_start_frames,
    finite,
)
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
        self.called = "the world model"
        """How errors speak of it."""
        self._form: WorldState | None = None
        self._forget_device()

    @classmethod
    def from_folder(cls, folder: Path | str) -> WorldModel:
        """The model of a folder written by ``save``; ready to draw."""
        folder = as_path("a world model", folder)
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
        model.called = f"the world model in {folder}"
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
        self._forget_device()

    def _forget_device(self) -> None:
        """Forget what holds for weights where they were, and for settings as they were."""
        self.recorded = RecordedCalls(self._advance)
        self._levels: dict[tuple[int, ...], Tensor] = {}

    def _apply(self, *arguments: Any, **options: Any) -> WorldModel:
        """Move or convert the weights."""
        super()._apply(*arguments, **options)
        self._forget_device()
        return self

    def robot_state(self, state: WorldState) -> np.ndarray:
        """The state of the robot at the newest frames, float32 (b numbers), in the order of ``state_names``."""
        if state.robot is None:
            raise ValueError("this world model knows no robot state")
        assert state.known is not None
        return np.stack(state.known)

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
        check_start_frames(frames, (self.config.height, self.config.width, 3))
        seeds = check_lane_seeds(seeds, len(frames))
        remembers = self.config.draws_from == "frames"
        if remembers and past is not None and past_actions is not None and past.shape[1]:
            return after_past(self, frames, seeds, past, past_actions)
        shown = to_device(frames, self.device)
        start = self.first_stage.encode(shown[:, None])
        no_action = torch.zeros(len(frames), 1, self.action_width, device=self.device)
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
            known=None if states is None else tuple(np.array(states, np.float32)),
        )

    @torch.inference_mode()
    def step(self, state: WorldState, actions: np.ndarray) -> tuple[np.ndarray, WorldState]:
        """The next frames uint8 (b h w 3) after ``actions`` float32 (b n), and the state with them in it."""
        check_action_array(actions)
        expected = (len(state.seeds), self.action_width)
        if actions.shape != expected:
            raise ValueError(f"actions have shape {actions.shape}, expected {expected}")
        state.check_finite(actions)
        given = [to_device(np.asarray(actions, np.float32), self.device)]
        if self.config.draws_from == "frames":
            given.append(to_device(noise_of_a_frame(self, state), self.device))
        if self._form is None:
            self._form = state.holding([tensor.new_empty(0) for tensor in state.tensors()])
        shown, sound, *rest = self.recorded(*given, *state.tensors())
        after = replace(state.holding(rest), frames=tuple(frame + 1 for frame in state.frames))
        if after.robot is None:
            frames, fine = to_host(shown, sound)
        else:
            frames, fine, known = to_host(shown, sound, after.robot)
            after = replace(after, known=tuple(known))
        state.check_drawn(fine, self.called)
        return frames, after

    def _advance(self, given: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """A step on the device: actions (b n), noise (b draws c 1 h w) where frames are denoised and the tensors of a
        state, to frames uint8 (b h w 3), whether each is finite (b), and the tensors of the state after them."""
        noise, tensors = (tensors[0], tensors[1:]) if self.config.draws_from == "frames" else (None, tensors)
        assert self._form is not None
        state = self._form.holding(tensors)
        scaled_actions = self.scaled(given)[:, None]
        robot = motion = None
        if self.state_head is not None:
            robot, motion = self.state_head(state.robot, given, state.motion)
        if noise is None:
            assert robot is not None
            latents = self.first_stage.clamp(self.rendered(self.unet, state.condition, robot[:, None])[0])
            cache = None
        else:
            latents, cache = denoise(self, state, scaled_actions, robot, noise)
        after = replace(
            state, cache=cache, newest=latents, newest_actions=scaled_actions, robot=robot, motion=motion
        )
        return self.first_stage.decode(latents)[:, 0], finite(latents), *after.tensors()

    @property
    def table(self) -> DDIMTable:
        """The denoising steps of a frame."""
        return _table(self.config.steps, self.config.spacing, self.config.eta)

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
        if tuple(levels) not in self._levels:
            self._levels[tuple(levels)] = to_device(torch.tensor(levels, dtype=torch.float32), self.device)
        timesteps = self._levels[tuple(levels)].expand(lanes, -1)
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

    def as_history(self, clean: Tensor, seeds: Sequence[int], frames: Sequence[int]) -> Tensor:
        """Finished frames (b c 1 h w) as they enter the history: slightly noised, as in training."""
        return self.noised_history(clean, self.noise(seeds, frames, CONTEXT))

    def noised_history(self, clean: Tensor, noise: Tensor) -> Tensor:
        """The same with given noise (b c 1 h w)."""
        return mix(clean, noise, float(vid2world_schedule().alphas_cumprod[self.config.context_level]))

    def noise(self, seeds: Sequence[int], frames: Sequence[int], draw: int) -> Tensor:
        """Noise (b c 1 h w) of each lane's frame: draw 0 starts it, draw k is added after its k-th step."""
        return to_device(batch_noise(seeds, frames, draw, self.config.latent_shape)[:, :, None], self.device)


@lru_cache(maxsize=8)
def _table(steps: int, spacing: Spacing, eta: float) -> DDIMTable:
    return ddim_table(vid2world_schedule(), ddim_timesteps(steps, spacing), eta)
