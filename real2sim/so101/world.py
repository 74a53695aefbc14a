"""The SO-101's physics behind the World protocol, so that one loop serves physics and world models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from real2sim.simulation.suite import Start
from real2sim.so101.physics import IMAGE_SIZE, SO101Physics, SO101Start, SO101State, is_success
from real2sim.so101.scene import CAMERAS


@dataclass(frozen=True)
class SO101Lane:
    """One lane: what decides what happens next, and what is measured now."""

    snapshot: SO101State
    task: str
    joints: np.ndarray
    """Float32 (6,)."""
    block: np.ndarray
    """Float32 (4,)."""


@dataclass(frozen=True)
class SO101Lanes:
    """State of the lanes of a physics world."""

    lanes: tuple[SO101Lane, ...]

    def select(self, indices: Sequence[int]) -> SO101Lanes:
        """The state of some lanes only, in the given order."""
        return SO101Lanes(tuple(self.lanes[i] for i in indices))

    def join(self, other: SO101Lanes) -> SO101Lanes:
        """The state of these lanes, then those of the other state."""
        return SO101Lanes(self.lanes + other.lanes)


class SO101World:
    """The SO-101 in MuJoCo; it knows for certain whether an episode succeeded."""

    name = "mujoco"
    frame_passes_per_frame = 0

    def __init__(self) -> None:
        self._physics = SO101Physics()

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> SO101Lanes:
        """Lanes that stand at their starts; physics draws no random numbers, so the seeds are not used."""
        lanes = []
        for start in starts:
            if start.state is None:
                raise ValueError(
                    f"start {start.id!r} has no physics state; make the suite with --physics so101 from a recording "
                    "of `real2sim record-so101`"
                )
            self._physics.reset(SO101Start.from_array(start.state))
            lanes.append(self._lane(start.task.name))
        return SO101Lanes(tuple(lanes))

    def step(self, state: SO101Lanes, actions: np.ndarray) -> tuple[np.ndarray, SO101Lanes]:
        """Next canvases uint8 (b 64 128 3) and state, after the five commands of a frame (b 5 6)."""
        canvases, lanes = [], []
        for lane, commands in zip(state.lanes, actions, strict=True):
            self._physics.restore(lane.snapshot)
            for command in commands:
                self._physics.act(command)
            frames = self._physics.render(IMAGE_SIZE)
            canvases.append(np.concatenate([frames[camera] for camera in CAMERAS], axis=1))
            lanes.append(self._lane(lane.task))
        return np.stack(canvases), SO101Lanes(tuple(lanes))

    def robot_state(self, state: SO101Lanes) -> np.ndarray:
        """Measured joints (b 6): degrees, the gripper in percent."""
        return np.stack([lane.joints for lane in state.lanes])

    def outcomes(self, state: SO101Lanes) -> np.ndarray:
        """Whether each lane's task is done now, bool (b,)."""
        return np.array([bool(is_success(lane.task, lane.block)) for lane in state.lanes])

    def _lane(self, task: str) -> SO101Lane:
        physics = self._physics
        return SO101Lane(physics.snapshot(), task, physics.state, physics.block)
