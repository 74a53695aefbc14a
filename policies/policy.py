"""The policy contract and observation helpers, for authors of policies."""

from __future__ import annotations

from typing import Any

import numpy as np

from real2sim.simulation.contracts import Policy, PolicyWithRequirements, Requirements, StochasticPolicy
from real2sim.simulation.lane_lists import is_list
from real2sim.simulation.observation import Observation, observe, observe_frames

__all__ = [
    "Observation",
    "Policy",
    "PolicyWithRequirements",
    "Requirements",
    "StochasticPolicy",
    "check_frames",
    "observe",
    "observe_frames",
    "observed_frames",
]


def observed_frames(observation: Observation, lanes: int) -> np.ndarray:
    """The canvas of an observation, once it is known to be uint8 (lanes h w 3)."""
    if not isinstance(observation, Observation):
        raise ValueError(
            f"a policy acts on an Observation, got a {type(observation).__name__}; "
            "real2sim.policies.policy.observe_frames makes one of frames"
        )
    check_frames(observation.frames, lanes)
    return observation.frames


def check_instructions(instructions: Any) -> tuple[str, ...]:
    """The instructions; ValueError unless they are one text for each lane, and at least one."""
    if not is_list(instructions):
        raise ValueError(
            f"instructions are of type {type(instructions).__name__}, expected a list with a text for each lane"
        )
    if not len(instructions):
        raise ValueError("a policy needs at least one instruction, one for each lane")
    for lane, text in enumerate(instructions):
        if not isinstance(text, str):
            raise ValueError(
                f"the instruction of lane {lane} is of type {type(text).__name__}, expected text"
            )
    return tuple(map(str, instructions))


def check_frames(frames: np.ndarray, lanes: int) -> None:
    """Raise a ValueError unless ``frames`` is uint8 (lanes h w 3)."""
    if not isinstance(frames, np.ndarray):
        raise ValueError(f"frames are a {type(frames).__name__}; expected uint8 ({lanes}, height, width, 3)")
    if isinstance(frames, np.ma.MaskedArray):
        raise ValueError("frames are masked; a policy sees every pixel, give an array without a mask")
    if (
        0 in frames.shape[1:3]
        or frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[0] != lanes
        or frames.shape[3] != 3
    ):
        raise ValueError(
            f"frames have shape {frames.shape} and type {frames.dtype}; "
            f"expected uint8 ({lanes}, height, width, 3): one frame for each instruction given to reset"
        )
