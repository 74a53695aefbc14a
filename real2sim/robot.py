"""A robot as data: what its action numbers mean, how often it acts, what it sees and what it knows of itself.

``robot.json`` lies in dataset folders, suites, world-model folders and policy folders.  The parts of an evaluation
are compared by it before anything heavy is loaded.  A folder without one is RT-1's robot.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from real2sim.files import read_json, write_text
from real2sim.model_folder import config_from_dict, config_to_dict
from real2sim.robot_parts import ActionNumber, Camera, StateNumber

ROBOT_FILE = "robot.json"

StateSource = Literal["action", "model"]

SLOWEST_HZ = 0.0001
"""An action in three hours."""


@dataclass(frozen=True)
class Robot:
    """An embodiment: action layout, control rate, cameras and proprioceptive state."""

    name: str
    action: tuple[ActionNumber, ...]
    """The numbers of one action, in order."""
    action_kind: Literal["absolute", "delta"] = "delta"
    """Targets, or changes of what the robot does now."""
    one_hot: tuple[tuple[str, ...], ...] = ()
    """Groups of binary numbers of which exactly one is 1, such as the steps of a mouse along one axis."""
    terminate: tuple[str, ...] | None = None
    """Names of the action numbers by which a policy ends an episode: one number (above 0.5 ends it), or a one-hot
    choice whose first place ends it.  None for robots whose policies do not end episodes."""
    control_hz: float = 3.0
    """Actions per second."""
    actions_per_frame: int = 1
    """K: the world model draws one frame for K actions."""
    world_action: Literal["stack", "last", "sum"] = "stack"
    """What the world model is given of the K actions of a frame: all, the last one, or their sum."""
    cameras: tuple[Camera, ...] = (Camera("image", 256, 320),)
    """Left to right on the canvas, the first one at the left edge; shorter ones stand at the top."""
    state: tuple[StateNumber, ...] = ()
    """The numbers of the proprioceptive state, in order; empty for none."""
    state_from: StateSource | None = None
    """Where the state comes from in a world model: ``"action"``: the last commanded targets; ``"model"``: the
    world model predicts it; None: policies are given no state."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("the robot has no name")
        if not self.action:
            raise ValueError(f"robot {self.name!r} has no action numbers; name at least one")
        if not self.cameras:
            raise ValueError(f"robot {self.name!r} has no camera; name at least one")
        for what, items in (
            ("action number", self.action),
            ("state number", self.state),
            ("camera", self.cameras),
        ):
            names = [item.name for item in items]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(
                    f"robot {self.name!r} has two {what}s called {twice[0]!r}; names must differ"
                )
        self._check_one_hot()
        missing = [name for name in self.terminate or () if name not in self.action_names]
        if missing:
            raise ValueError(
                f"robot {self.name!r}: terminate names {missing[0]!r}, which is not an action number; "
                f"there are {', '.join(self.action_names)}"
            )
        if not (math.isfinite(self.control_hz) and SLOWEST_HZ <= self.control_hz <= 10_000):
            raise ValueError(
                f"robot {self.name!r}: control_hz is {self.control_hz}; expected at least {SLOWEST_HZ} and "
                "at most 10000 actions per second"
            )
        if self.action_kind not in ("absolute", "delta"):
            raise ValueError(
                f"robot {self.name!r}: action_kind is {self.action_kind!r}; expected 'absolute' or 'delta'"
            )
        if self.world_action not in ("stack", "last", "sum"):
            raise ValueError(
                f"robot {self.name!r}: world_action is {self.world_action!r}; expected 'stack', 'last' or 'sum'"
            )
        if not 1 <= self.actions_per_frame <= 1000:
            raise ValueError(
                f"robot {self.name!r}: actions_per_frame is {self.actions_per_frame}; expected 1 to 1000"
            )
        if self.world_action == "sum" and self.action_kind == "absolute" and self.actions_per_frame > 1:
            raise ValueError(
                f"robot {self.name!r}: the sum of absolute targets means nothing; choose world_action "
                "'stack' or 'last'"
            )
        if (self.state_from is None) != (not self.state):
            raise ValueError(
                f"robot {self.name!r} has {len(self.state)} state numbers and state_from {self.state_from!r}; "
                "a state needs a source ('action' or 'model'), and a source needs a state"
            )
        if self.state_from == "action":
            unknown = [number.name for number in self.state if number.name not in self.action_names]
            if self.action_kind != "absolute" or unknown:
                raise ValueError(
                    f"robot {self.name!r}: state_from 'action' needs absolute targets with the names of the state"
                    + (
                        f"; no action number is called {unknown[0]!r}"
                        if unknown
                        else ", its actions are deltas"
                    )
                )

    def _check_one_hot(self) -> None:
        numbers = {number.name: number for number in self.action}
        seen: set[str] = set()
        for group in self.one_hot:
            for name in group:
                if name not in numbers or not numbers[name].binary or name in seen:
                    why = "is in two groups" if name in seen else "is no binary action number"
                    raise ValueError(
                        f"robot {self.name!r}: one_hot names {name!r}, which {why}; expected each binary number in at "
                        "most one group"
                    )
                seen.add(name)
            if len(group) < 2:
                raise ValueError(
                    f"robot {self.name!r}: a one_hot group has {len(group)} number, expected at least 2"
                )
        for number in self.action:
            if number.binary and (number.low, number.high) != (0, 1):
                raise ValueError(
                    f"robot {self.name!r}: binary action number {number.name!r} has the bounds {number.low} to "
                    f"{number.high}, expected 0 to 1"
                )

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the action numbers, in order."""
        return tuple(number.name for number in self.action)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state numbers, in order."""
        return tuple(number.name for number in self.state)

    @property
    def action_width(self) -> int:
        """n: numbers per action."""
        return len(self.action)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of what is executed per frame, as policies answer and files keep it: (n,), or (K, n) for K above 1."""
        per_frame = (self.actions_per_frame,) if self.actions_per_frame > 1 else ()
        return (*per_frame, self.action_width)

    @property
    def world_action_width(self) -> int:
        """Numbers that the world model is given per frame: K n for ``"stack"``, else n."""
        return self.action_width * (self.actions_per_frame if self.world_action == "stack" else 1)

    @property
    def frame_hz(self) -> float:
        """Frames per second that the world model draws."""
        return self.control_hz / self.actions_per_frame

    @cached_property
    def low(self) -> np.ndarray:
        """Smallest action (n,) float32."""
        return np.array([number.low for number in self.action], dtype=np.float32)

    @cached_property
    def high(self) -> np.ndarray:
        """Largest action (n,) float32."""
        return np.array([number.high for number in self.action], dtype=np.float32)

    @cached_property
    def used(self) -> np.ndarray:
        """Which action numbers the robot obeys, bool (n,)."""
        return np.array([number.used for number in self.action])

    @cached_property
    def binary(self) -> np.ndarray:
        """Which action numbers are 0 or 1, bool (n,)."""
        return np.array([number.binary for number in self.action])

    @cached_property
    def one_hot_places(self) -> tuple[np.ndarray, ...]:
        """Places in the action of each one-hot group, int (g,)."""
        return tuple(
            np.array([self.action_names.index(name) for name in group], dtype=int) for group in self.one_hot
        )

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Height and width of the canvas, pixels."""
        return max(camera.height for camera in self.cameras), sum(camera.width for camera in self.cameras)

    def camera(self, name: str) -> Camera:
        """The camera of that name."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ValueError(
            f"robot {self.name!r} has no camera {name!r}; it has {', '.join(item.name for item in self.cameras)}"
        )

    def tile(self, name: str) -> tuple[slice, slice]:
        """Where a camera's frames lie on the canvas: rows and columns."""
        camera = self.camera(name)
        left = sum(item.width for item in self.cameras[: self.cameras.index(camera)])
        return slice(0, camera.height), slice(left, left + camera.width)

    def images(self, canvas: np.ndarray) -> dict[str, np.ndarray]:
        """Each camera's frames (... h w 3), cut out of canvases (... H W 3)."""
        tiles = {camera.name: self.tile(camera.name) for camera in self.cameras}
        return {name: canvas[..., rows, columns, :] for name, (rows, columns) in tiles.items()}

    def canvas(self, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """Canvases uint8 (... H W 3) of each camera's frames; black where no camera is."""
        leading = np.asarray(images[self.cameras[0].name]).shape[:-3]
        canvas = np.zeros((*leading, *self.canvas_size, 3), dtype=np.uint8)
        for camera in self.cameras:
            if camera.name not in images:
                raise ValueError(
                    f"there are no frames of camera {camera.name!r}; given are {', '.join(images) or 'none'}"
                )
            frames = np.asarray(images[camera.name])
            expected = (*leading, camera.height, camera.width, 3)
            if frames.shape != expected or frames.dtype != np.uint8:
                raise ValueError(
                    f"frames of camera {camera.name!r} are {frames.dtype} {frames.shape}, expected uint8 {expected}"
                )
            rows, columns = self.tile(camera.name)
            canvas[..., rows, columns, :] = frames
        return canvas

    def per_frame(self, actions: np.ndarray) -> np.ndarray:
        """Actions (... K n) of actions as policies answer and files keep them: (... K n), or (... n) where K is 1."""
        return actions[..., None, :] if self.actions_per_frame == 1 else actions

    def recorded(self, actions: np.ndarray) -> np.ndarray:
        """Actions (... K n) as files keep them: the same, or (... n) where K is 1."""
        return actions[..., 0, :] if self.actions_per_frame == 1 else actions

    def terminates(self, actions: np.ndarray) -> np.ndarray:
        """Whether each action (... n) asks to end the episode, bool (...).

        One number ends it above 0.5; of a one-hot choice the first place is the largest and above 0 (all zero goes on).
        """
        actions = np.asarray(actions)
        if self.terminate is None:
            return np.zeros(actions.shape[:-1], dtype=bool)
        choice = actions[..., [self.action_names.index(name) for name in self.terminate]]
        if len(self.terminate) == 1:
            return np.asarray(choice[..., 0] > 0.5)
        return np.asarray((choice[..., 0] > 0) & (choice.argmax(axis=-1) == 0))

    def world_actions(self, actions: np.ndarray) -> np.ndarray:
        """What the world model is given (... w) of the K actions of a frame (... K n)."""
        if self.world_action == "stack":
            return actions.reshape(*actions.shape[:-2], -1)
        return actions[..., -1, :] if self.world_action == "last" else actions.sum(axis=-2)

    @cached_property
    def world_action_scale(self) -> tuple[float, ...]:
        """Factors that bring what the world model is given to a spread of about 1: 2 / (high - low) for each number.

        0 for numbers that move nothing: those that the robot ignores and those that end an episode.
        """
        moves = [number.used and number.name not in (self.terminate or ()) for number in self.action]
        scales = [2 / (n.high - n.low) if m else 0.0 for n, m in zip(self.action, moves, strict=True)]
        if self.world_action == "sum":
            scales = [scale / self.actions_per_frame for scale in scales]
        return tuple(scales * (self.actions_per_frame if self.world_action == "stack" else 1))

    def to_json(self) -> str:
        """The content of ``robot.json``."""
        return json.dumps(config_to_dict(self), indent=2) + "\n"

    def save(self, folder: Path) -> None:
        """Write ``robot.json`` into a folder."""
        write_text(Path(folder) / ROBOT_FILE, self.to_json())


def robot_text(robot: Robot | None) -> dict[str, str]:
    """``robot.json`` and its content, for a model folder; nothing for None."""
    return {} if robot is None else {ROBOT_FILE: robot.to_json()}


def read_robot(folder: Path) -> Robot | None:
    """The robot of a folder; None where the folder has no ``robot.json``."""
    path = Path(folder) / ROBOT_FILE
    if not path.is_file():
        return None
    known = path.stat()
    return _read_robot(path, known.st_ino, known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=64)
def _read_robot(path: Path, inode: int, changed: int, size: int) -> Robot:
    """The robot in a file, which is read anew when it has changed: each episode of a dataset asks for it."""
    return config_from_dict(Robot, read_json(path), str(path))
