"""The policy contract and observation helpers, for authors of policies."""

from __future__ import annotations

import numpy as np

from real2sim.simulation.contracts import Policy, PolicyWithRequirements, Requirements, StochasticPolicy
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


def check_frames(frames: np.ndarray, lanes: int) -> None:
    """Raise a ValueError unless ``frames`` is uint8 (lanes h w 3)."""
    if not isinstance(frames, np.ndarray):
        raise ValueError(f"frames are a {type(frames).__name__}; expected uint8 ({lanes}, height, width, 3)")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[0] != lanes or frames.shape[3] != 3:
        raise ValueError(
            f"frames have shape {frames.shape} and type {frames.dtype}; "
            f"expected uint8 ({lanes}, height, width, 3): one frame for each instruction given to reset"
        )
