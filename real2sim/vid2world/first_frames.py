"""Small world models that begin from several recorded frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from real2sim.vid2world.lane_state import WorldState
    from real2sim.vid2world.world_model import WorldModel


def after_past(
    model: WorldModel, frames: np.ndarray, seeds: Sequence[int], past: np.ndarray, past_actions: np.ndarray
) -> WorldState:
    """Lanes whose first frame is the oldest past one, as if the following ones had been drawn."""
    if model.config.state is not None:
        raise ValueError(
            "this world model draws from past frames and predicts the robot's state; it begins from one frame "
            "and the state there, give no frames before it"
        )
    expected = (len(frames), past.shape[1], model.action_width)
    if past.shape[0] != len(frames) or past.shape[2:] != frames.shape[1:] or past_actions.shape != expected:
        raise ValueError(
            f"past frames {past.shape} and actions {past_actions.shape} do not fit start frames {frames.shape}; "
            f"expected one action {expected} after each past frame"
        )
    state = model.reset(past[:, 0], seeds)
    state.check_finite(past_actions)
    given = model.scaled(torch.from_numpy(np.asarray(past_actions, np.float32)).to(model.device))
    for number in range(past.shape[1]):
        following = frames if number + 1 == past.shape[1] else past[:, number + 1]
        shown = torch.from_numpy(np.ascontiguousarray(following)).to(model.device)
        assert state.cache is not None
        cache = model.predict(
            model.as_history(state.newest, state.seeds, [frame - 1 for frame in state.frames]),
            (model.config.context_level,),
            state.newest_actions,
            state.condition,
            state.cache,
            remember=1,
        )[1]
        state = replace(
            state,
            cache=cache,
            newest=model.first_stage.encode(shown[:, None]),
            newest_actions=given[:, number : number + 1],
            frames=tuple(frame + 1 for frame in state.frames),
        )
    return state
