"""What a recording in LeRobot's layout holds, at which rate, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from real2sim.episodes.lerobot.rows import ENVIRONMENT, OUTCOME

CODECS: Mapping[str, Mapping[str, str]] = {
    "libsvtav1": {"g": "2", "crf": "30", "preset": "10"},
    "libx264": {"g": "12", "crf": "20", "preset": "veryfast"},
}
"""Encoder -> its options; the first is LeRobot's own choice."""


@dataclass(frozen=True)
class Recording:
    """What is recorded, at which rate, and how it is stored."""

    fps: int
    action_names: tuple[str, ...]
    cameras: Mapping[str, tuple[int, int]]
    """Short name -> height and width in pixels, at least 64 each."""
    state_names: tuple[str, ...] = ()
    robot_type: str | None = None
    codec: str = "libsvtav1"
    episodes_per_file: int = 50
    environment_names: tuple[str, ...] = ()
    """What is recorded of objects, such as a block's place: LeRobot's `observation.environment_state`."""
    outcomes: bool = False
    """Whether the task is done after each frame's action is recorded: `next.success`."""

    def __post_init__(self) -> None:
        if self.fps < 1:
            raise ValueError(f"fps must be at least 1, got {self.fps}")
        if self.codec not in CODECS:
            raise ValueError(f"codec is {self.codec!r}; there are {', '.join(CODECS)}")
        if not self.action_names or not self.cameras:
            raise ValueError("a recording needs at least one action and one camera")
        if self.episodes_per_file < 1:
            raise ValueError(f"episodes_per_file must be at least 1, got {self.episodes_per_file}")

    @property
    def vectors(self) -> dict[str, tuple[str, ...]]:
        """Feature -> names of its numbers."""
        found = {
            "action": self.action_names,
            "observation.state": self.state_names,
            ENVIRONMENT: self.environment_names,
        }
        return {feature: names for feature, names in found.items() if names}

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features of ``info.json``."""
        found: dict[str, dict[str, Any]] = {
            feature: {"dtype": "float32", "shape": [len(names)], "names": list(names)}
            for feature, names in self.vectors.items()
        }
        for name, (height, width) in self.cameras.items():
            found[f"observation.images.{name}"] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": {
                    "video.height": height,
                    "video.width": width,
                    "video.codec": "av1" if self.codec == "libsvtav1" else "h264",
                    "video.pix_fmt": "yuv420p",
                    "video.is_depth_map": False,
                    "video.fps": self.fps,
                    "video.channels": 3,
                    "has_audio": False,
                },
            }
        if self.outcomes:
            found[OUTCOME] = {"dtype": "bool", "shape": [1], "names": None}
        found["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        for name in ("frame_index", "episode_index", "index", "task_index"):
            found[name] = {"dtype": "int64", "shape": [1], "names": None}
        return found
