"""The validity gate: does a generated video follow the actions, move and keep its sharpness, as real video does?

Four numbers per drawn frame. *Error*: an inverse-dynamics network recovers the action from two consecutive
frames; its distance from the commanded one, in the scale that the network expects. *Errors*: its mean over
the last four frames. *Stillness*: how little the last three frames changed although every action asks for
motion. *Softness*: how much fine detail the frame has lost against the first one, which is a camera's. The
limit of each is the conformal quantile of the largest value of held-out real episodes (split conformal
prediction, Vovk et al. 2005; Angelopoulos & Bates 2023, eq. 1), shared out over the four (Bonferroni), so
that real video passes whole at a stated rate. A frame's score is the largest of the four, each divided by its
limit.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from real2sim.checks import as_path, check_device, check_finite, check_whole
from real2sim.host_copies import to_device, to_host
from real2sim.model_building import build_module
from real2sim.model_folder import (
    WEIGHTS_FILE,
    config_to_dict,
    read_config,
    read_tensors,
)
from real2sim.robot import Robot, read_robot
from real2sim.success.classifier import scaled_frames
from real2sim.success.inverse_dynamics import (
    InverseDynamics,
    InverseDynamicsConfig,
    check_share,
    scaled_errors,
)
from real2sim.success.unlikeness import detail

KIND = "validity_gate"
STILL = 3
"""Frames in a row that motion must be asked for: one request, such as closing a gripper, may be invisible."""
WINDOW = 4
"""Frames over which errors are averaged: a small error that lasts counts, too."""
LEAST_CHANGE = 1e-5
"""Change of a frame, as a share of full brightness, below which it stands still."""
STATISTICS = ("error", "errors", "stillness", "softness")


@dataclass(frozen=True)
class GateLimits:
    """How far real episodes go in each of the four numbers, and generated ones may."""

    error: float = 1.0
    """Largest error of one frame, in expected errors."""
    errors: float = 1.0
    """Largest mean error of four frames."""
    stillness: float = 1.0
    """Largest inverse change of frames (as a share of full brightness) when motion is asked for."""
    softness: float = 1.0
    """Largest ratio of the first frame's detail to a frame's."""
    refused: float = 0.01
    """Share of further real episodes that are refused at the most, on average."""
    episodes: int = 0
    """Held-out real episodes that the limit comes from."""

    def __post_init__(self) -> None:
        for name in STATISTICS:
            if check_finite(name, getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        check_share("refused", self.refused)
        check_whole("episodes", self.episodes, low=0)


@dataclass(frozen=True)
class GateConfig:
    """A gate: its network, which numbers ask for motion, and its limits."""

    network: InverseDynamicsConfig
    held: tuple[bool, ...]
    """Numbers of one action that are targets (a joint's, a gripper's): their change asks for motion; others do so
    themselves."""
    motion: tuple[float, ...]
    """Root mean square of what each number asks for, 0 for those that move nothing; more than that of one number asks
    for motion."""
    limits: GateLimits

    def __post_init__(self) -> None:
        for value in self.motion:
            check_finite("motion", value, low=0)
        if len(self.motion) != len(self.held) or self.network.numbers % max(len(self.held), 1):
            raise ValueError(
                f"held and motion have {len(self.held)} and {len(self.motion)} numbers, the network recovers "
                f"{self.network.numbers}; expected one of each for the numbers of one action"
            )


@dataclass(frozen=True)
class Validity:
    """What a gate says of one episode."""

    scores: np.ndarray
    """Score (t) of each drawn frame; above 1 it is unlike real video under these actions."""

    @property
    def score(self) -> float:
        """The largest score; 0 for an episode without a drawn frame."""
        return float(self.scores.max(initial=0.0))

    @property
    def invalid_from(self) -> int | None:
        """Number of the first frame beyond the limit, where frame 0 is the start; None for a valid episode."""
        beyond = np.flatnonzero(self.scores > 1)
        return int(beyond[0]) + 1 if len(beyond) else None

    @property
    def valid(self) -> bool:
        """Whether no frame is beyond the limit."""
        return self.invalid_from is None


class ValidityGate:
    """Says whether, and from which frame on, a generated episode stops being like real video under its actions."""

    def __init__(
        self, config: GateConfig, network: InverseDynamics, robot: Robot | None = None, name: str = "gate"
    ) -> None:
        self.config = config
        self.network = network.eval()
        self.robot = robot
        self.name = name

    @classmethod
    def from_folder(cls, folder: Path | str, name: str = "gate", device: str = "cpu") -> ValidityGate:
        """The gate stored in a model folder; errors name the file and what is wrong with it."""
        folder = as_path("a gate", folder)
        check_device(device)
        config = read_config(folder, KIND, GateConfig)
        path = folder / WEIGHTS_FILE
        tensors = read_tensors(path)
        network = build_module(lambda: InverseDynamics(config.network), tensors, str(path))
        return cls(config, network.to(device), read_robot(folder), name)

    @property
    def digest(self) -> str:
        """Changes with the weights, the configuration and the limits."""
        digest = hashlib.sha256(json.dumps(config_to_dict(self.config), sort_keys=True).encode())
        for tensor in self.network.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()[:12]

    def check(self, frames: np.ndarray, actions: np.ndarray) -> Validity:
        """Validity of an episode: frames uint8 (t+1 h w 3) and the actions (t n) or (t K n) that led from each to the
        next.

        Raises ValueError where frames and actions do not fit each other or the gate.
        """
        limits = np.array([getattr(self.config.limits, name) for name in STATISTICS])
        return Validity((self.statistics(frames, actions) / limits[:, None]).max(axis=0, initial=0.0))

    def statistics(self, frames: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The four numbers (4 t) of each drawn frame, as they are."""
        frames = np.asarray(frames)
        flat = self._flat_actions(frames, actions)
        if not len(flat):
            return np.zeros((len(STATISTICS), 0))
        errors = self._errors(frames, flat)
        asks = asks_for_motion(flat, self.config.held, self.config.motion)
        return np.stack([errors, trailing_mean(errors, WINDOW), stillness(frames, asks), softness(frames)])

    def _flat_actions(self, frames: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Actions (t, K n) of an episode whose shapes fit."""
        actions = np.asarray(actions, np.float32)
        flat = actions.reshape(len(actions), math.prod(actions.shape[1:]))
        if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[-1] != 3:
            raise ValueError(f"the gate expects uint8 frames (t, h, w, 3), got {frames.dtype} {frames.shape}")
        if len(frames) != len(flat) + 1:
            raise ValueError(f"{len(flat)} actions lead through {len(flat) + 1} frames, got {len(frames)}")
        if flat.shape[1] != self.config.network.numbers and len(flat):
            raise ValueError(
                f"the episode has {flat.shape[1]} action numbers per frame, the gate recovers "
                f"{self.config.network.numbers}; was it trained on another robot?"
            )
        return flat

    @torch.no_grad()
    def _errors(self, frames: np.ndarray, flat: np.ndarray, chunk: int = 64) -> np.ndarray:
        network = self.network
        out: list[np.ndarray] = []
        device = network.mean.device
        for start in range(0, len(flat), chunk):
            commanded = network.standardised(to_device(flat[start : start + chunk], device))
            pairs = np.stack([frames[:-1][start : start + chunk], frames[1:][start : start + chunk]], axis=1)
            recovered, scale = network(scaled_frames(to_device(pairs, device)))
            out += to_host(scaled_errors(recovered, scale, commanded, network.spread).double())
        return np.concatenate(out)


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean (t) of each value and up to ``window`` - 1 before it, as if the episode began with zeros."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    return np.asarray((sums[1:] - sums[first]) / window)


def asks_for_motion(actions: np.ndarray, held: Sequence[bool], motion: Sequence[float]) -> np.ndarray:
    """Whether the actions (t, K n) of each frame ask for motion, bool (t)."""
    sizes = np.asarray(motion, np.float64)
    asked = requested(actions, held)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(sizes > 0, asked / sizes, 0.0)
    return np.asarray((ratios > 1).any(axis=1))


def requested(actions: np.ndarray, held: Sequence[bool]) -> np.ndarray:
    """How much each number of an action asks for (t n): its largest size among the K actions (t, K n) of a frame, or
    for targets its change since the frame before."""
    k = np.asarray(actions, np.float64).reshape(len(actions), -1, len(held))
    last = k[:, -1]
    change = np.abs(np.diff(last, axis=0, prepend=k[:1, 0]))
    return np.where(np.asarray(held), change, np.abs(k).max(axis=1))


def stillness(frames: np.ndarray, asks: np.ndarray) -> np.ndarray:
    """Inverse (t) of the largest change of a frame uint8 (t+1 h w 3) and the two before it, where motion was asked for
    at all three; 0 elsewhere."""
    values = frames.astype(np.float32) / 255
    change = np.abs(np.diff(values, axis=0)).mean(axis=(1, 2, 3), dtype=np.float64)
    found = np.zeros(len(change))
    for last in range(STILL - 1, len(change)):
        recent = slice(last - STILL + 1, last + 1)
        if asks[recent].all():
            found[last] = 1 / max(change[recent].max(), LEAST_CHANGE)
    return found


def softness(frames: np.ndarray) -> np.ndarray:
    """Detail of the first of frames uint8 (t+1 h w 3), divided by that of each later one (t)."""
    fine = detail(frames) + LEAST_CHANGE
    return np.asarray(fine[0] / fine[1:])
