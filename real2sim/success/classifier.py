"""The learned judge: a small network that looks at how an episode began and how it ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from real2sim.checks import as_path, check_device, check_finite, check_sizes
from real2sim.host_copies import to_device, to_host
from real2sim.model_building import build_module
from real2sim.model_folder import (
    WEIGHTS_FILE,
    config_to_dict,
    read_config,
    read_tensors,
)
from real2sim.success.calibration import PlattScaling
from real2sim.success.encoder import hidden_layer, picture_encoder
from real2sim.success.goals import Goal, goal_index
from real2sim.success.unlikeness import Unlikeness, read_unlikeness

KIND = "success_classifier"


@dataclass(frozen=True)
class ClassifierConfig:
    """Shape of the network, what it judges and how its logits become probabilities."""

    goals: tuple[Goal, ...]
    """The instructions it can judge."""
    image_size: tuple[int, int] = (64, 64)
    """Height and width of the frames, at least 8 pixels each."""
    recent: int = 3
    """How many frames at the end of an episode are looked at, besides the first one."""
    widths: tuple[int, int, int] = (24, 48, 80)
    """Channels at 1/2, 1/4 and 1/8 of the image size; the last two are multiples of 8."""
    hidden: int = 64
    """Width of the last hidden layer."""
    joint_range: float = 0.16
    """Travel of the joint in metres; the network predicts the joint position in this unit."""
    softness: float = 0.005
    """Distance of the joint from a threshold, in metres, that is worth one logit."""
    calibration: PlattScaling = field(default_factory=PlattScaling)
    """Fitted on episodes the weights were not trained on."""

    def __post_init__(self) -> None:
        if not self.goals:
            raise ValueError("a classifier needs at least one goal")
        check_sizes(self, "image_size", "widths", "hidden")
        check_sizes(self, "recent", high=1024)
        check_finite("joint_range", self.joint_range, 1e-9, 1e9)
        check_finite("softness", self.softness, 1e-9, 1e9)
        if any(size < 8 for size in self.image_size):
            raise ValueError(f"image_size must be at least 8 x 8 pixels, got {self.image_size}")
        if len(self.widths) != 3 or any(width % 8 for width in self.widths[1:]):
            raise ValueError(f"widths must be three numbers, the last two multiples of 8, got {self.widths}")

    @classmethod
    def tiny(cls) -> ClassifierConfig:
        """Toy size with two goals, for tests."""
        goals = (Goal("close drawer", -0.03, above=True), Goal("open drawer", -0.12, above=False))
        return cls(goals=goals, image_size=(16, 16), recent=2, widths=(8, 8, 8), hidden=8)


class OutcomeNetwork(nn.Module):
    """Joint position and one logit per goal from a few frames (b t c h w, in [-1, 1]) stacked as channels.

    The verdict on a goal with a threshold is the distance of the predicted joint from it, counted in
    units of ``softness``, plus a learned correction: near the threshold the joint decides.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.encoder = picture_encoder(3 * (config.recent + 1), config.widths)
        self.hidden = hidden_layer(config.image_size, config.hidden)
        self.joint = nn.Linear(config.hidden, 1)
        self.verdict = nn.Linear(config.hidden, len(config.goals))
        self.joint_range = config.joint_range
        known = [goal.threshold is not None for goal in config.goals]
        slopes = [
            goal.direction / config.softness if has else 0.0
            for goal, has in zip(config.goals, known, strict=True)
        ]
        self.register_buffer("slopes", torch.tensor(slopes), persistent=False)
        thresholds = [goal.threshold or 0.0 for goal in config.goals]
        self.register_buffer("thresholds", torch.tensor(thresholds), persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Joint positions (b) in metres and logits (b, goals)."""
        features = self.hidden(self.encoder(frames.flatten(1, 2)))
        joint = -self.joint(features).squeeze(1) * self.joint_range
        margins = (joint[:, None] - self.get_buffer("thresholds")) * self.get_buffer("slopes")
        return joint, margins + self.verdict(features)


def judged_frames(length: int, recent: int) -> list[int]:
    """Which frames of an episode of ``length`` frames are looked at: the first and the last ``recent`` ones.

    An episode shorter than that repeats its first frame.
    """
    if length < 1:
        raise ValueError("an episode without a frame cannot be judged")
    return [0] + [max(0, length - recent + index) for index in range(recent)]


def to_network(frames: np.ndarray) -> Tensor:
    """Floats (b t c h w) in [-1, 1] of uint8 frames (b t h w c)."""
    return scaled_frames(torch.from_numpy(np.ascontiguousarray(frames)))


def scaled_frames(frames: Tensor) -> Tensor:
    """The same of a tensor, on its device: bytes are copied there, not floats."""
    return frames.movedim(-1, 2).float() / 127.5 - 1


class SuccessClassifier:
    """Says how probably an episode succeeded, from its first and last frames and its instruction."""

    def __init__(
        self,
        config: ClassifierConfig,
        network: OutcomeNetwork | None = None,
        name: str = "classifier",
        unlikeness: Unlikeness | None = None,
        folder: Path | None = None,
    ) -> None:
        self.config = config
        self.name = name
        self._called = f"judge {name!r}" if folder is None else f"the judge in {folder}"
        self.unlikeness = unlikeness
        self.network = (network or OutcomeNetwork(config)).eval()

    @classmethod
    def from_folder(
        cls, folder: Path | str, name: str = "classifier", device: str = "cpu"
    ) -> SuccessClassifier:
        """The judge stored in a model folder; errors name the file and what is wrong with it."""
        folder = as_path("a judge", folder)
        check_device(device)
        config = read_config(folder, KIND, ClassifierConfig)
        path = folder / WEIGHTS_FILE
        tensors = read_tensors(path)
        network = build_module(lambda: OutcomeNetwork(config), tensors, str(path))
        return cls(config, network.to(device), name, read_unlikeness(folder), folder)

    @property
    def digest(self) -> str:
        """Changes with the weights and the configuration."""
        digest = hashlib.sha256(json.dumps(config_to_dict(self.config), sort_keys=True).encode())
        for tensor in self.network.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        if self.unlikeness is not None:
            digest.update(self.unlikeness.digest)
        return digest.hexdigest()[:12]

    def probability(self, frames: np.ndarray, instructions: Sequence[str]) -> np.ndarray:
        """Calibrated probability of success (b,) of episodes given as uint8 frames (b t h w 3)."""
        logits, _ = self.logits_and_joint(frames, instructions)
        if not np.isfinite(logits).all():
            raise ValueError(
                f"{self._called} answers NaN or infinity; its weights or thresholds are too large or damaged, "
                "copy or train the judge again"
            )
        return self.config.calibration.probability(logits)

    def joint(self, frames: np.ndarray, instructions: Sequence[str]) -> np.ndarray:
        """Estimated joint position (b,) in metres on the final frames."""
        return self.logits_and_joint(frames, instructions)[1]

    def logits_and_joint(
        self, frames: np.ndarray, instructions: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Uncalibrated logits (b,) of the instructions and joint positions (b,) in metres."""
        frames = np.asarray(frames)
        size = self.config.image_size
        if frames.ndim != 5 or frames.shape[2:] != (*size, 3) or frames.dtype != np.uint8:
            raise ValueError(
                f"{self._called} expects uint8 frames (b, t, {size[0]}, {size[1]}, 3), got {frames.dtype} "
                f"{frames.shape}; resize the episodes to the judge's image size"
            )
        if len(instructions) != len(frames):
            raise ValueError(
                f"got {len(instructions)} instructions for {len(frames)} episodes, expected one each"
            )
        chosen = [goal_index(self.config.goals, instruction) for instruction in instructions]
        if not chosen:
            return np.zeros(0), np.zeros(0)
        seen = frames[:, judged_frames(frames.shape[1], self.config.recent)]
        return self.clip_logits(seen, np.array(chosen))

    @torch.no_grad()
    def clip_logits(self, clips: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for exactly the frames the network sees (b, recent + 1, h, w, 3) and goal numbers (b,)."""
        device = next(self.network.parameters()).device
        joint, logits = self.network(scaled_frames(to_device(clips, device)))
        answers, joints = to_host(logits.double(), joint.double())
        return answers[np.arange(len(goals)), goals], joints

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        """Probability of success (b,) of episodes of any lengths, given as uint8 frames (t h w 3) each.

        NaN, no verdict, where a frame that the judge looks at is unlike real ones (`real2sim.success.unlikeness`).
        """
        for what, given in (("instructions", instructions), ("frames", frames)):
            array = isinstance(given, np.ndarray) and given.ndim > 0
            if not array and (isinstance(given, str | bytes) or not isinstance(given, Sequence)):
                raise ValueError(
                    f"{what} are of type {type(given).__name__}, expected a list with one for each episode"
                )
        for video in frames:
            if not isinstance(video, np.ndarray) or isinstance(video, np.ma.MaskedArray) or video.ndim != 4:
                shape = f" {video.shape}" if isinstance(video, np.ndarray) else ""
                raise ValueError(
                    f"the frames of an episode are a {type(video).__name__}{shape}, expected a whole array "
                    "uint8 (t, height, width, 3)"
                )
        if not len(frames):
            return np.zeros(0)
        seen = np.stack([video[judged_frames(len(video), self.config.recent)] for video in frames])
        probabilities = self.probability(seen, instructions)
        if self.unlikeness is not None:
            probabilities = np.where(self.unlikeness.unlike(seen), np.nan, probabilities)
        return probabilities
