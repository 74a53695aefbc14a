"""The world model: a causal video diffusion model that predicts the next frame from past frames and actions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from real2sim.vid2world.network.frame_cache import FrameCache
    from real2sim.vid2world.network.unet import CausalUNet
    from real2sim.vid2world.network.unet_config import UNetConfig
    from real2sim.vid2world.released.config import Vid2WorldConfig
    from real2sim.vid2world.released.model import Vid2World
    from real2sim.vid2world.released.sampler import Sampler, SamplerConfig, Scene

# Name -> module: loaded when first asked for, because most of them need torch.
_HOMES = {
    "CausalUNet": "real2sim.vid2world.network.unet",
    "FrameCache": "real2sim.vid2world.network.frame_cache",
    "Sampler": "real2sim.vid2world.released.sampler",
    "SamplerConfig": "real2sim.vid2world.released.sampler",
    "Scene": "real2sim.vid2world.released.sampler",
    "UNetConfig": "real2sim.vid2world.network.unet_config",
    "Vid2World": "real2sim.vid2world.released.model",
    "Vid2WorldConfig": "real2sim.vid2world.released.config",
}

__all__ = [
    "CausalUNet",
    "FrameCache",
    "Sampler",
    "SamplerConfig",
    "Scene",
    "UNetConfig",
    "Vid2World",
    "Vid2WorldConfig",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
