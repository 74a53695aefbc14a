"""Denoising a frame of a small world model: from noise to the clean frame, given the history and the action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from real2sim.vid2world.ddim import guide, twice
from real2sim.vid2world.network.frame_cache import FrameCache
from real2sim.vid2world.noise import CONTEXT, batch_noise

if TYPE_CHECKING:
    from real2sim.vid2world.lane_state import WorldState
    from real2sim.vid2world.world_model import WorldModel


def noise_of_a_frame(model: WorldModel, state: WorldState) -> Tensor:
    """All noise that the next frame of each lane takes (b draws c 1 h w), on the processor: first that of the newest
    frame in the history, then that from which the next frame begins, then what is added after each step."""
    shape, seeds, frames = model.config.latent_shape, state.seeds, state.frames
    draws = 1 + (len(model.table) if model.config.eta > 0 else 0)
    parts = [batch_noise(seeds, [frame - 1 for frame in frames], CONTEXT, shape)]
    parts += [batch_noise(seeds, frames, draw, shape) for draw in range(draws)]
    return torch.stack(parts, dim=1)[:, :, :, None]


def denoise(
    model: WorldModel, state: WorldState, scaled_actions: Tensor, robot: Tensor | None, noise: Tensor
) -> tuple[Tensor, FrameCache]:
    """The next frames (b c 1 h w) by DDIM, and the cache with the frames before them; ``noise`` is that of
    `noise_of_a_frame`."""
    config, table, condition = model.config, model.table, state.condition
    assert state.cache is not None
    now = then = both_states = None
    if robot is not None and state.robot is not None:
        then, now = state.robot[:, None], robot[:, None]
        both_states = torch.cat([then, now], dim=1)
    past = model.noised_history(state.newest, noise[:, 0])
    x, cache = noise[:, 1], state.cache
    at_history = (config.context_level,)
    clean = x
    if config.guidance != 1:
        # The branches of guidance read one history, so it is written before they part.
        cache = model.predict(
            past, at_history, state.newest_actions, condition, cache, remember=1, robot=then
        )[1]
    for draw, step in enumerate(reversed(range(len(table)))):
        level = (table.timesteps[step],)
        if config.guidance != 1:
            prediction = _guided(model, x, level, scaled_actions, condition, cache, now)
        elif draw == 0:
            # One pass writes the frame before into the history and begins the new one.
            both, actions = (
                torch.cat([past, x], dim=2),
                torch.cat([state.newest_actions, scaled_actions], dim=1),
            )
            found, cache = model.predict(
                both, at_history + level, actions, condition, cache, remember=1, robot=both_states
            )
            prediction = found[:, :, 1:]
        else:
            prediction, _ = model.predict(x, level, scaled_actions, condition, cache, robot=now)
        prediction, _ = model.gated(prediction, condition)
        fresh = noise[:, draw + 2] if config.eta > 0 else None
        clean, x = model.denoised(x, prediction, step, fresh)
    return clean, cache


def _guided(
    model: WorldModel,
    x: Tensor,
    level: Sequence[int],
    scaled_actions: Tensor,
    condition: Tensor,
    cache: FrameCache,
    robot: Tensor | None,
) -> Tensor:
    """Prediction moved away from the one that does not know the action; both are one batch."""
    known = torch.ones(2 * len(x), 1, device=x.device)
    known[len(x) :] = 0
    branches = cache.repeat(2)
    states = None if robot is None else twice(robot)
    both, _ = model.predict(
        twice(x), level, twice(scaled_actions), twice(condition), branches, known=known, robot=states
    )
    conditional, unconditional = both.chunk(2)
    return guide(conditional, unconditional, model.config.guidance)
