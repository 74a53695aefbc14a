"""Signal levels and scales of the released schedule in the precision that networks compute in."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from real2sim.vid2world.schedule import vid2world_schedule


@lru_cache(maxsize=1)
def latent_scales() -> Tensor:
    """Factor on the clean latent (dynamic rescale) at each of the 1000 diffusion steps, float32 (1000,)."""
    return vid2world_schedule().scale.float()


@lru_cache(maxsize=1)
def signal_levels() -> Tensor:
    """Cumulative signal level (alphas_cumprod) of each of the 1000 diffusion steps, float32 (1000,)."""
    return vid2world_schedule().alphas_cumprod.float()
