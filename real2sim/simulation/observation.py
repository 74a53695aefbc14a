"""What a policy is given at each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from real2sim.robot import Robot


@dataclass(frozen=True)
class Observation:
    """Camera frames, proprioceptive state and instructions of a batch of lanes."""

    frames: np.ndarray
    """The canvas with all cameras, uint8 (lanes h w 3); with one camera it is the camera's frame."""
    images: Mapping[str, np.ndarray]
    """Frames by camera, uint8 (lanes h w 3) each; cut out of the canvas."""
    state: np.ndarray | None
    """Proprioceptive state, float32 (lanes m), in the robot's order; None for a robot without one."""
    instructions: tuple[str, ...]
    """Instruction of each lane."""

    def __len__(self) -> int:
        """Number of lanes."""
        return len(self.frames)

    def lane(self, index: int) -> Observation:
        """The observation of one lane only."""
        one = slice(index, index + 1)
        return Observation(
            frames=self.frames[one],
            images={name: frames[one] for name, frames in self.images.items()},
            state=None if self.state is None else self.state[one],
            instructions=self.instructions[one],
        )


def observe(
    robot: Robot, frames: np.ndarray, instructions: Sequence[str], state: np.ndarray | None = None
) -> Observation:
    """The observation of ``robot`` for canvases uint8 (lanes h w 3), one instruction per lane and states (lanes m)."""
    return Observation(_array(frames), robot.images(frames), state, tuple(instructions))


def observe_frames(frames: np.ndarray, instructions: Sequence[str] | None = None) -> Observation:
    """The observation of a robot with one camera, called ``image``, and no state, for frames uint8 (lanes h w 3)."""
    texts = ("",) * len(_array(frames)) if instructions is None else tuple(instructions)
    return Observation(_array(frames), {"image": frames}, None, texts)


def _array(frames: np.ndarray) -> np.ndarray:
    if not isinstance(frames, np.ndarray):
        raise ValueError(f"frames are a {type(frames).__name__}; expected uint8 (lanes, height, width, 3)")
    return frames
