"""A released Vid2World model as a batch of lanes with a state, like the small models trained here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from real2sim.checks import as_path
from real2sim.host_copies import to_device, to_host
from real2sim.model_folder import read_config
from real2sim.vid2world.lane_state import check_action_array, check_lane_seeds, check_start_frames, finite
from real2sim.vid2world.network.unet import CausalUNet
from real2sim.vid2world.noise import CONTEXT, batch_noise
from real2sim.vid2world.released.autoencoder import Autoencoder
from real2sim.vid2world.released.checkpoint import CAPTION, CAPTION_FILE, COMPONENTS, KIND, check_layout
from real2sim.vid2world.released.clip import ImageTower
from real2sim.vid2world.released.conditioning_image import prepare_image
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.files import common_type, downloaded, read_tensors
from real2sim.vid2world.released.layout import published_layout
from real2sim.vid2world.released.letterbox import frames_to_pixels, pixels_to_frames
from real2sim.vid2world.released.resampler import Resampler
from real2sim.vid2world.released.sampler import Sampler, SamplerConfig, Scene
from real2sim.vid2world.released.window import Vid2WorldState, check_actions, first_window, kept_actions

if TYPE_CHECKING:
    from real2sim.vid2world.load import SamplingOverrides

ENCODING = CONTEXT + 1
"""Address of the noise with which the latent of a picture is sampled."""


class Vid2World(nn.Module):
    """Draws the next camera frame from the past ones and the action, with published weights.

    Frames are drawn one by one, as the published autoregressive sampler does.  When the history is full the
    window moves on: its first frame becomes the condition, and frames are encoded again from their pictures,
    as was done for the long rollouts of the game model.
    """

    empty_caption: Tensor

    def __init__(self, config: Vid2WorldConfig) -> None:
        super().__init__()
        self.config = config
        self.called = "the world model"
        """How errors speak of it."""
        self.unet = CausalUNet(config.unet)
        self.autoencoder = Autoencoder(config.autoencoder)
        self.image_encoder = ImageTower.from_config(config.image)
        self.resampler = Resampler.from_config(config.resampler)
        self.register_buffer("empty_caption", torch.zeros(1, config.text.tokens, config.text.width))

    @classmethod
    def from_pretrained(
        cls,
        folder_or_hub_id: str | Path,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        sampler: SamplerConfig | None = None,
    ) -> Vid2World:
        """The model of a folder written by ``real2sim convert``, or of such a folder on the Hugging Face Hub.

        ``dtype`` is by default that of the stored weights, of several the one that holds them; ``sampler`` that of the
        folder, the published one.

        Raises FileNotFoundError or ValueError with one sentence if the folder is not complete.
        """
        folder = as_path("a model", folder_or_hub_id)
        if not folder.exists():
            folder = downloaded(str(folder_or_hub_id))
        config = read_config(folder, KIND, Vid2WorldConfig)
        if sampler is not None:
            config = replace(config, sampler=sampler)
        with torch.device("meta"):
            model = cls(config)
        layout = published_layout(config)
        kind = dtype or common_type([folder / f"{component}.safetensors" for component in COMPONENTS])
        for component, prefix in COMPONENTS.items():
            path = folder / f"{component}.safetensors"
            tensors = read_tensors(path, device)
            expected = {name.removeprefix(prefix): s for name, s in layout.items() if name.startswith(prefix)}
            check_layout({name: tuple(tensor.shape) for name, tensor in tensors.items()}, expected, str(path))
            tensors = {name: tensor.to(kind) for name, tensor in tensors.items()}
            if component == "autoencoder":
                model.autoencoder.load_published(tensors)
            else:
                getattr(model, component).load_state_dict(tensors, strict=True, assign=True)
        caption = read_tensors(folder / CAPTION_FILE, device)
        shape = {CAPTION: tuple(model.empty_caption.shape)}
        check_layout({name: tuple(t.shape) for name, t in caption.items()}, shape, str(folder / CAPTION_FILE))
        model.empty_caption = caption[CAPTION].to(model.dtype)
        model.called = f"the world model in {folder}"
        return model.eval().requires_grad_(False)

    @classmethod
    def from_folder(cls, folder: str | Path) -> Vid2World:
        """The model of a folder on disk, in the stored precision, on the CPU."""
        return cls.from_pretrained(Path(folder))

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the U-Net."""
        return next(self.unet.parameters()).dtype

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a frame, pixels."""
        return self.config.image_size

    def override_sampling(self, sampling: SamplingOverrides) -> None:
        """Apply sampling overrides."""
        history = self.config.history if sampling.context is None else sampling.context
        sampler = replace(self.config.sampler, **sampling.settings())
        self.config = replace(self.config, sampler=sampler, history=history)
        if sampling.precision is not None:
            self.to(getattr(torch, sampling.precision))
        if sampling.compile:
            self.unet.compile_passes()

    @property
    def frame_passes_per_frame(self) -> int:
        """U-Net passes over one frame that a new frame costs once the history is full."""
        return self._sampler().frame_passes(self.config.history)

    @torch.inference_mode()
    def reset(
        self,
        frames: np.ndarray,
        seeds: Sequence[int],
        past: np.ndarray | None = None,
        past_actions: np.ndarray | None = None,
    ) -> Vid2WorldState:
        """Lanes that stand at their start frames, uint8 (b h w 3), one noise seed each.

        ``past`` uint8 (b p h w 3) are the p frames before, oldest first, and ``past_actions`` (b p a) what led from
        each of them to the next.  Published runs of the CS:GO and RECON models begin with four frames (p = 3).
        """
        check_start_frames(frames, (*self.config.image_size, 3))
        lanes = check_lane_seeds(seeds, len(frames))
        windows, actions = first_window(self.config, frames, past, past_actions)
        given = to_device(windows, self.empty_caption.device)
        pictures = torch.stack(
            [frames_to_pixels(given[:, i], self.config.picture_size) for i in range(given.shape[1])], dim=1
        )
        encoded = torch.stack(
            [self._encode(pictures[:, i], lanes, (i,) * len(lanes)) for i in range(given.shape[1])],
            dim=2,
        )
        context, unconditional = self._contexts(pictures[:, 0], encoded[:, :, 0])
        return Vid2WorldState(
            latents=encoded,
            encoded=encoded,
            pictures=pictures,
            actions=torch.cat([self._no_action(len(frames)), to_device(actions, given.device)], dim=1),
            context=context,
            unconditional_context=unconditional,
            seeds=lanes,
            frames=(given.shape[1],) * len(lanes),
        )

    @torch.inference_mode()
    def step(self, state: Vid2WorldState, actions: np.ndarray) -> tuple[np.ndarray, Vid2WorldState]:
        """The next frames uint8 (b h w 3) after ``actions`` (b a), and the state with them in it."""
        scaled_actions = self._scaled(actions, state)
        state = self._moved_on(state)
        scene = Scene(
            condition=state.latents[:, :, :1],
            actions=torch.cat([state.actions, scaled_actions], dim=1),
            context=state.context,
            unconditional_context=state.unconditional_context,
        )
        sampler = self._sampler()
        past = state.latents.shape[2]

        def noise(place: int, draw: int) -> Tensor:
            frames = [frame - past + place for frame in state.frames]
            return self._noise(state.seeds, frames, draw)

        noises = [noise(place, CONTEXT) for place in range(past)]
        history = sampler.as_history(state.latents, torch.stack(noises, dim=2))
        latent = sampler.draw_frame(history, scene, past, noise)
        pictures = self.autoencoder.decode(latent[:, :, 0].to(self.dtype)).float()
        sound = finite(pictures)
        if self.config.clamp_history:
            pictures = pictures.clamp(-1, 1)
        encoded = self._encode(pictures, state.seeds, state.frames)[:, :, None]
        after = replace(
            state,
            latents=torch.cat([state.latents, latent], dim=2),
            encoded=torch.cat([state.encoded, encoded], dim=2),
            pictures=torch.cat([state.pictures, pictures[:, None]], dim=1),
            actions=scene.actions,
            frames=tuple(frame + 1 for frame in state.frames),
        )
        drawn, fine = to_host(pixels_to_frames(pictures, self.config.image_size), sound)
        state.check_drawn(fine, self.called)
        return drawn, after

    @torch.inference_mode()
    def draw_together(self, frames: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """Frames uint8 (b t h w 3) after start frames (b h w 3), all denoised at once from actions (b t a).

        The published non-autoregressive mode; start frame and drawn frames must fit the U-Net's window.  Guidance
        compares with a branch that keeps each action with a probability of ``sampler.keep_action``, drawn once per
        frame and episode.
        """
        state = self.reset(frames, seeds)
        total, window = actions.shape[1] + 1, self.config.unet.window
        if total > window:
            raise ValueError(f"{total} frames with the start frame do not fit the window of {window}")
        scaled_actions = [self._scaled(actions[:, index], state) for index in range(total - 1)]
        scene = Scene(
            condition=state.latents,
            actions=torch.cat([state.actions, *scaled_actions], dim=1),
            context=state.context,
            unconditional_context=state.unconditional_context,
            unconditional_mask=to_device(
                kept_actions(self.config, state.seeds, total), self.empty_caption.device
            ),
        )
        latents = self._sampler().together(
            scene, total, lambda frame, draw: self._noise(state.seeds, (frame,) * len(seeds), draw)
        )
        drawn = latents[:, :, 1:].transpose(1, 2).flatten(0, 1)
        pictures = self.autoencoder.decode(drawn.to(self.dtype)).float()
        video = pixels_to_frames(pictures, self.config.image_size).unflatten(0, (len(frames), -1))
        shown, sound = to_host(video, finite(pictures.unflatten(0, (len(frames), -1))))
        state.check_drawn(sound, self.called)
        return shown

    def _moved_on(self, state: Vid2WorldState) -> Vid2WorldState:
        """The state with at most ``history`` frames; if any are dropped the rest begins a new window."""
        history = self.config.history
        if state.latents.shape[2] <= history:
            return state
        pictures, encoded = state.pictures[:, -history:], state.encoded[:, :, -history:]
        context, unconditional = self._contexts(pictures[:, 0], encoded[:, :, 0])
        return replace(
            state,
            latents=encoded,
            encoded=encoded,
            pictures=pictures,
            actions=torch.cat([self._no_action(len(pictures)), state.actions[:, -history:][:, 1:]], dim=1),
            context=context,
            unconditional_context=unconditional,
        )

    def _encode(self, pictures: Tensor, seeds: Sequence[int], frames: Sequence[int]) -> Tensor:
        """Latents (b c h w) of pictures (b 3 H W), float32."""
        noise = self._noise(seeds, frames, ENCODING).to(self.dtype)
        return self.autoencoder.encode(pictures.to(self.dtype), noise).float()

    def _contexts(self, pictures: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of the two branches (b tokens d) for a window that begins with these pictures.

        The unconditional branch sees the picture after a round trip through the autoencoder, as published.
        """
        tokens, sampler = self._tokens(pictures), self.config.sampler
        if sampler.guidance == 1 or sampler.unconditional_image == "original":
            return tokens, tokens
        again = self.autoencoder.decode(latents.to(self.dtype)).float()
        return tokens, self._tokens(again)

    def _tokens(self, pictures: Tensor) -> Tensor:
        prepared = prepare_image(pictures, self.config.image.image).to(self.dtype)
        image = self.resampler(self.image_encoder(prepared))
        return torch.cat([self.empty_caption.expand(len(image), -1, -1), image], dim=1)

    def _noise(self, seeds: Sequence[int], frames: Sequence[int], draw: int) -> Tensor:
        return to_device(
            batch_noise(seeds, frames, draw, self.config.latent_shape), self.empty_caption.device
        )

    def _no_action(self, lanes: int) -> Tensor:
        """What the first frame of a window is given as its action (b 1 a)."""
        return torch.zeros(lanes, 1, self.config.unet.action_dim or 0, device=self.empty_caption.device)

    def scaled(self, actions: Tensor) -> Tensor:
        """Actions (... n) in the units of the network."""
        scale = self.config.action_scale
        return actions * torch.tensor(scale, device=actions.device) if scale else actions

    def _scaled(self, actions: np.ndarray, state: Vid2WorldState) -> Tensor:
        """Actions (b a) of the lanes, checked, as the network takes them (b 1 a)."""
        check_action_array(actions)
        check_actions(self.config, actions, state)
        given = torch.from_numpy(np.asarray(actions, np.float32))[:, None]
        return to_device(self.scaled(given), self.empty_caption.device)

    def _sampler(self) -> Sampler:
        return Sampler(self.unet, self.config.sampler)
