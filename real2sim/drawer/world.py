"""Physics behind the World protocol, so that one loop serves physics and world models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from real2sim.drawer.physics import DrawerPhysics, DrawerStart, PhysicsState, is_success
from real2sim.simulation.suite import Start


@dataclass(frozen=True)
class PhysicsLanes:
    """State of the lanes of a physics world."""

    snapshots: tuple[PhysicsState, ...]
    tasks: tuple[str, ...]
    drawers: tuple[float, ...]
    """Drawer joint of each lane, metres."""

    def select(self, indices: Sequence[int]) -> PhysicsLanes:
        """The state of some lanes only, in the given order."""
        return PhysicsLanes(
            tuple(self.snapshots[i] for i in indices),
            tuple(self.tasks[i] for i in indices),
            tuple(self.drawers[i] for i in indices),
        )

    def join(self, other: PhysicsLanes) -> PhysicsLanes:
        """The state of these lanes, then those of the other state."""
        return PhysicsLanes(
            self.snapshots + other.snapshots, self.tasks + other.tasks, self.drawers + other.drawers
        )


class DrawerWorld:
    """The drawer robot in MuJoCo; it knows for certain whether an episode succeeded."""

    name = "mujoco"
    frame_passes_per_frame = 0

    def __init__(self) -> None:
        self._physics = DrawerPhysics()

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> PhysicsLanes:
        """Lanes that stand at their starts; physics draws no random numbers, so the seeds are not used."""
        snapshots, drawers = [], []
        for start in starts:
            if start.state is None:
                raise ValueError(
                    f"start {start.id!r} has no physics state; this suite cannot be run in MuJoCo"
                )
            self._physics.reset(DrawerStart.from_array(start.state))
            snapshots.append(self._physics.snapshot())
            drawers.append(self._physics.drawer)
        return PhysicsLanes(tuple(snapshots), tuple(start.task.name for start in starts), tuple(drawers))

    def step(self, state: PhysicsLanes, actions: np.ndarray) -> tuple[np.ndarray, PhysicsLanes]:
        """Next frames uint8 (b 64 64 3) and state, for actions (b 1 13)."""
        frames, snapshots, drawers = [], [], []
        for snapshot, action in zip(state.snapshots, actions, strict=True):
            self._physics.restore(snapshot)
            frames.append(self._physics.step(action[0]))
            snapshots.append(self._physics.snapshot())
            drawers.append(self._physics.drawer)
        return np.stack(frames), PhysicsLanes(tuple(snapshots), state.tasks, tuple(drawers))

    def robot_state(self, state: PhysicsLanes) -> None:
        """The drawer robot's policies are given no state."""
        return None

    def outcomes(self, state: PhysicsLanes) -> np.ndarray:
        """Whether each lane's task is done now, bool (b,)."""
        return np.array(
            [bool(is_success(task, drawer)) for task, drawer in zip(state.tasks, state.drawers, strict=True)]
        )
