"""Sampling frames with a Vid2World U-Net: DDIM with a noise level per frame, and guidance by the action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from real2sim.checks import check_finite, check_whole
from real2sim.vid2world.ddim import ddim_step, guide, restore_deviation, twice
from real2sim.vid2world.network.frame_cache import FrameCache
from real2sim.vid2world.network.unet import CausalUNet
from real2sim.vid2world.noise import CONTEXT
from real2sim.vid2world.schedule import (
    Spacing,
    ddim_table,
    ddim_timesteps,
    vid2world_schedule,
)

Noise = Callable[[int, int], Tensor]
"""Standard normal noise (b c h w) for (frame, draw): draw 0 starts the frame, draw k is added after its
k-th step if ``eta`` is not 0, and draw ``CONTEXT`` noises the finished frame when it becomes history."""


@dataclass(frozen=True)
class SamplerConfig:
    """Sampling settings. The defaults correct two properties of the published sampler, :meth:`reference`."""

    steps: int = 50
    spacing: Spacing = "uniform_trailing"
    eta: float = 1.0
    """Fresh noise at each step: 0 none, 1 as much as diffusion itself would add (the published default)."""
    guidance: float = 2.5
    """Weight of the newest action; 1 leaves the prediction as it is and needs half the passes."""
    guidance_rescale: float = 0.7
    """How far the guided prediction is brought back to the deviation of the conditional one, 0 to 1."""
    rescale_over: Literal["window", "frame"] = "window"
    """Frames over which that deviation is taken: the whole window, as published, or the new frame."""
    context_level: int | None = 39
    """Diffusion step whose noise the history carries. None takes the second-smallest sampling step, as published:
    39 for 50 steps, but 399 for 5 and pure noise for 2."""
    undo_rescale: bool = True
    """Divide the finished latent by the scale that is still on it (0.986 for 50 steps, 0.85 for 5)."""
    context_form: Literal["switch", "all", "own"] = "switch"
    """Image tokens that a frame sees: all of them, its own 16, or, as published, its own once the window is
    full and all before that."""
    unconditional_image: Literal["decoded", "original"] = "decoded"
    """Image whose tokens the unconditional branch sees: the first frame after a round trip through the
    autoencoder, as published, or the one that the conditional branch sees."""
    keep_action: float = 0.8
    """When a whole window is sampled at once: probability that the unconditional branch keeps a frame's action,
    as published."""
    history: Literal["exact", "cached"] = "exact"
    """``"exact"`` passes over the whole window in every denoising step, as published, because its norms pool over
    time. ``"cached"`` passes over the new frame and reads what the history left in the last pass over the whole
    window: the norm statistics of past frames are frozen there, those of the new frame pooled with them."""
    whole_window_every: int = 10
    """With a cached history: denoising steps from one pass over the whole window to the next; 10 of 50 steps cost a
    sixth for a full window (``docs/vid2world.md`` says what it changes)."""

    def __post_init__(self) -> None:
        for name in ("eta", "guidance_rescale", "keep_action"):
            check_finite(name, getattr(self, name))
        check_finite("guidance", self.guidance, -100, 100)
        for name in ("steps", "whole_window_every"):
            check_whole(name, getattr(self, name))
        if self.context_level is not None:
            check_whole("context_level", self.context_level, 0)
        ddim_timesteps(self.steps, self.spacing)
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {self.eta}")
        if not 0 <= self.guidance_rescale <= 1:
            raise ValueError(f"guidance_rescale must be between 0 and 1, got {self.guidance_rescale}")
        if self.context_level is None and self.steps < 2:
            raise ValueError("one step has no second-smallest noise level for the history; set context_level")
        if self.context_level is not None and not 0 <= self.context_level <= 999:
            raise ValueError(f"context_level must be between 0 and 999, got {self.context_level}")
        if self.whole_window_every < 1:
            raise ValueError(f"whole_window_every must be at least 1, got {self.whole_window_every}")
        if not 0 <= self.keep_action <= 1:
            raise ValueError(f"keep_action must be between 0 and 1, got {self.keep_action}")
        for name, known in (
            ("rescale_over", ("window", "frame")),
            ("context_form", ("switch", "all", "own")),
            ("unconditional_image", ("decoded", "original")),
            ("history", ("exact", "cached")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    @classmethod
    def reference(cls, steps: int = 50) -> SamplerConfig:
        """The published sampler, unchanged."""
        return cls(steps=steps, context_level=None, undo_rescale=False)

    @classmethod
    def tiny(cls) -> SamplerConfig:
        """Two steps without fresh noise."""
        return cls(steps=2, eta=0.0)


@dataclass(frozen=True)
class Scene:
    """Conditions of a window of frames, besides noise and history."""

    condition: Tensor
    """Latent of the window's first frame (b c 1 h w), or one for each frame (b c t h w)."""
    actions: Tensor
    """Shifted: the action that led to each frame (b t a)."""
    context: Tensor | None = None
    """Text tokens, then image tokens (b tokens dim)."""
    fps: Tensor | None = None
    """Frame rate (b)."""
    unconditional_context: Tensor | None = None
    """Tokens for the unconditional branch; None takes ``context``."""
    unconditional_mask: Tensor | None = None
    """Actions that the unconditional branch keeps (b t) when frames are drawn together; None keeps none."""

    def first(self, frames: int) -> Scene:
        """The same scene for its first ``frames`` frames."""
        mask = self.unconditional_mask
        return replace(
            self,
            condition=self.condition[:, :, :frames],
            actions=self.actions[:, :frames],
            unconditional_mask=None if mask is None else mask[:, :frames],
        )


class Sampler:
    """Samples frames with a U-Net whose norms need the whole window (the released weights)."""

    def __init__(self, unet: CausalUNet, config: SamplerConfig) -> None:
        self.unet = unet
        self.config = config
        self.schedule = vid2world_schedule()
        timesteps = ddim_timesteps(config.steps, config.spacing)
        self.table = ddim_table(self.schedule, timesteps, config.eta)
        level = config.context_level
        self.context_level = timesteps[1] if level is None else level
        """Diffusion step whose noise the history carries."""

    @property
    def branches(self) -> int:
        """Passes of the U-Net for one prediction: two with guidance."""
        return 1 if self.config.guidance == 1 else 2

    @property
    def whole_every(self) -> int:
        """Denoising steps from one pass over the whole window to the next."""
        return 1 if self.config.history == "exact" else self.config.whole_window_every

    def frame_passes(self, past: int) -> int:
        """Passes over one frame that a new frame after ``past`` frames costs."""
        steps = len(self.table)
        whole = -(-steps // self.whole_every)
        return self.branches * (whole * (past + 1) + steps - whole)

    def as_history(self, clean: Tensor, noise: Tensor) -> Tensor:
        """Finished frames as history, slightly noised (any shape)."""
        alpha = float(self.schedule.alphas_cumprod[self.context_level])
        return alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise

    def draw_frame(self, history: Tensor, scene: Scene, frame: int, noise: Noise) -> Tensor:
        """The frame (b c 1 h w) after ``history`` (b c t h w), which is noisy already (:meth:`as_history`).

        ``scene`` covers the history and the new frame; ``frame`` is the new frame's address for ``noise``.
        """
        past = history.shape[2]
        scene = scene.first(past + 1)
        keep = torch.ones(len(history), past + 1, device=history.device)
        keep[:, -1] = 0
        levels = torch.full(keep.shape, self.context_level, device=history.device)
        cache: FrameCache | None = None
        x = noise(frame, 0).to(history)[:, :, None]
        for index, step in enumerate(reversed(range(len(self.table)))):
            levels = levels.clone()
            levels[:, -1] = self.table.timesteps[step]
            if index % self.whole_every == 0:
                window = torch.cat([history, x], dim=2)
                v, cache = self.velocity(window, levels, scene, keep, None, remember=past)
            else:
                v, _ = self.velocity(x, levels[:, -1:], scene, keep[:, -1:], cache, remember=0)
            fresh = noise(frame, index + 1).to(x)[:, :, None] if self.config.eta > 0 else None
            x = self.move(x, v[:, :, -1:], step, fresh)
        return self.finished(x)

    def autoregressive(self, given: Tensor, scene: Scene, frames: int, noise: Noise) -> Tensor:
        """Clean latents (b c frames h w) that begin with ``given`` (b c t h w), drawn one after the other.

        All of them must fit the U-Net's window.
        """
        clean = list(given.split(1, dim=2))
        noisy = [self.as_history(x, noise(i, CONTEXT).to(x)[:, :, None]) for i, x in enumerate(clean)]
        for frame in range(len(clean), frames):
            x = self.draw_frame(torch.cat(noisy, dim=2), scene, frame, noise)
            clean.append(x)
            noisy.append(
                self.as_history(x, noise(frame, CONTEXT).to(x)[:, :, None]) if frame + 1 < frames else x
            )
        return torch.cat(clean, dim=2)

    def together(self, scene: Scene, frames: int, noise: Noise) -> Tensor:
        """Clean latents (b c frames h w), all denoised at once at one common level."""
        scene = scene.first(frames)
        x = self._frames(noise, frames, 0, scene)
        keep = scene.unconditional_mask
        if keep is None:
            keep = x.new_zeros(len(x), frames)
        for index, step in enumerate(reversed(range(len(self.table)))):
            levels = torch.full(keep.shape, self.table.timesteps[step], device=x.device)
            v, _ = self.velocity(x, levels, scene, keep)
            fresh = self._frames(noise, frames, index + 1, scene) if self.config.eta > 0 else None
            x = self.move(x, v, step, fresh)
        return self.finished(x)

    def _frames(self, noise: Noise, frames: int, draw: int, scene: Scene) -> Tensor:
        return torch.stack([noise(frame, draw) for frame in range(frames)], dim=2).to(scene.condition)

    def velocity(
        self,
        x: Tensor,
        levels: Tensor,
        scene: Scene,
        keep: Tensor,
        cache: FrameCache | None = None,
        *,
        remember: int | None = None,
    ) -> tuple[Tensor, FrameCache | None]:
        """Guided velocity of the last frames of a scene (b c t h w).

        ``keep`` (b t) are the actions that the unconditional branch knows. With ``remember`` the pass reads
        ``cache`` and returns the one with that many frames more; both hold both branches.
        """
        config, frames = self.config, x.shape[2]
        condition, actions = scene.condition[:, :, -frames:], scene.actions[:, -frames:]
        x = torch.cat([x, condition.expand(-1, -1, frames, -1, -1)], dim=1)
        context, mask, fps = scene.context, None, scene.fps
        if config.guidance != 1:
            other = scene.unconditional_context
            if other is None or config.unconditional_image == "original":
                other = context
            x, levels, actions = twice(x), twice(levels), twice(actions)
            context = None if context is None or other is None else torch.cat([context, other])
            mask = torch.cat([torch.ones_like(keep), keep])
            fps = None if fps is None else twice(fps)
        context, own = self._tokens(context, scene.actions.shape[1], frames)
        arguments = (context, actions, mask, fps)
        if remember is None or config.history == "exact":
            out = self.unet(x, levels, *arguments, per_frame_context=own)
        else:
            out, cache = self.unet.step(
                x, levels, cache, *arguments, per_frame_context=own, remember=remember
            )
        return self._guided(out, newest=remember is not None), cache

    def _tokens(self, context: Tensor | None, total: int, frames: int) -> tuple[Tensor | None, bool | None]:
        """The context for the last ``frames`` of ``total``, and whether each sees its own part only."""
        unet, form = self.unet.config, self.config.context_form
        if context is None or not unet.image_cross_attention:
            return context, None
        each = unet.image_tokens_per_frame
        full = context.shape[1] - unet.text_tokens == each * total
        if form == "all" or (form == "switch" and not full):
            return context, False
        text, image = context.split([unet.text_tokens, context.shape[1] - unet.text_tokens], dim=1)
        # Tokens are ordered frame by frame; a window that is not full yet uses the first of them.
        return torch.cat([text, image[:, each * (total - frames) : each * total]], dim=1), True

    def _guided(self, prediction: Tensor, *, newest: bool) -> Tensor:
        config = self.config
        if config.guidance == 1:
            return prediction
        conditional, unconditional = prediction.chunk(2)
        guided = guide(conditional, unconditional, config.guidance)
        if config.guidance_rescale == 0:
            return guided
        if newest and config.rescale_over == "frame":
            guided, conditional = guided[:, :, -1:], conditional[:, :, -1:]
        return restore_deviation(guided, conditional, config.guidance_rescale)

    def move(self, x: Tensor, v: Tensor, step: int, fresh: Tensor | None) -> Tensor:
        """``x`` after step ``step`` of the table (b c t h w)."""
        table = self.table
        return ddim_step(
            x,
            v,
            table.alphas[step],
            table.alphas_next[step],
            sigma=table.sigmas[step],
            fresh=fresh,
            rescale=table.scales_next[step] / table.scales[step],
        )

    def finished(self, x: Tensor) -> Tensor:
        """``x`` after the last step as a clean latent."""
        return x / self.table.scales[0] if self.config.undo_rescale else x
