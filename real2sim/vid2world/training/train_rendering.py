"""Training of a world model that draws frames from states, on single recorded frames and the states there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.episodes.learned_files import learned_files
from real2sim.host_copies import to_device
from real2sim.vid2world.training.pretrained import Pretrained, first_model
from real2sim.vid2world.training.windows import WindowOptimisation, WindowSource
from real2sim.vid2world.world_model_config import WorldModelConfig

MOVED = 0.04
"""Difference from the start frame, in the range [-1, 1], from which a pixel counts as changed."""


@dataclass(frozen=True)
class RenderingConfig:
    """What weighs how much when frames are drawn from states."""

    changed: float = 4.0
    """Extra weight of pixels that differ from the start frame, in the recorded or in the drawn frame, and of their
    neighbours: a change that did not happen costs as much as one that is missed."""
    edges: float = 8.0
    """Extra weight of changed pixels per unit of local contrast: fingers, handles and outlines are thin."""
    squared: float = 2.0
    """Weight of squared differences beside absolute ones."""
    gate: float = 0.02
    """Price of drawing a pixel anew where nothing has changed."""
    data: tuple[Path, ...] = ()
    """Further dataset folders whose frames are learned from."""


class RenderingTraining:
    """A world model that draws from states, and the dataset it learns from, for the training loop."""

    fixed_settings = ("model", "pretrained")

    def __init__(
        self,
        model: WorldModelConfig,
        rendering: RenderingConfig,
        optimisation: WindowOptimisation,
        data: Path,
        head: Mapping[str, Tensor],
        start: Pretrained | None = None,
    ) -> None:
        if model.state is None or model.draws_from != "state":
            raise ValueError('drawing from states is trained for draws_from="state" only')
        self.rendering, self.optimisation = rendering, optimisation
        self.pretrained = None if start is None else start.folder
        self.folders = (data, *rendering.data)
        self.source = WindowSource(data, 2, model.state.names, more=rendering.data)
        self.model = first_model(model, self.source, optimisation.seed, start)
        assert self.model.state_head is not None
        self.model.state_head.load_state_dict(dict(head))
        self.model.state_head.requires_grad_(False)

    @property
    def trained(self) -> nn.Module:
        return self.model.unet

    @property
    def extra_modules(self) -> Mapping[str, nn.Module]:
        return self.model.other_modules

    def settings(self) -> Mapping[str, Any]:
        return {
            "model": self.model.config,
            "pretrained": self.pretrained,
            "rendering": self.rendering,
            "optimisation": self.optimisation,
        }

    def learned_files(self) -> list[Path]:
        return learned_files(self.folders)

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        count = self.optimisation.windows * self.optimisation.frames
        images, starts, robot = self.source.draw_frames(count, rng)
        device = self.model.device
        stage = self.model.first_stage
        target = stage.encode(to_device(images[:, None], device))
        start = stage.encode(to_device(starts[:, None], device))
        robot = to_device(robot[:, None], device)
        drawn, share = self.model.rendered(network, start, robot)
        return {"loss": rendering_loss(self.rendering, stage, drawn, share, target, start)}


def rendering_loss(
    config: RenderingConfig, stage: Any, drawn: Tensor, share: Tensor | None, target: Tensor, start: Tensor
) -> Tensor:
    """One number for latents of drawn, recorded and start frames (b c 1 h w) and the gate's shares (b p*p 1 h w)."""
    drawn, target, start = (stage.pixels(latents[:, :, 0]) for latents in (drawn, target, start))
    near, near_drawn = (_near_changes(frames, start) for frames in (target, drawn.detach()))
    contrast = F.max_pool2d(target, 3, 1, 1) + F.max_pool2d(-target, 3, 1, 1)
    extra = config.changed + config.edges * contrast.mean(dim=1, keepdim=True)
    weight = 1 + torch.maximum(near, near_drawn) * extra
    error = drawn - target
    loss = ((error.abs() + config.squared * error.square()) * weight).mean()
    if share is not None:
        anew = F.pixel_shuffle(share[:, :, 0], stage.patch).clamp(0, 1)
        loss = loss + config.gate * (anew * (1 - near)).mean()
    return loss


def _near_changes(frames: Tensor, start: Tensor) -> Tensor:
    """1 where a pixel of frames (b 3 h w) or a neighbour of it differs from the start frame, else 0 (b 1 h w)."""
    changed = ((frames - start).abs().amax(dim=1, keepdim=True) > MOVED).float()
    return F.max_pool2d(changed, 3, stride=1, padding=1)
