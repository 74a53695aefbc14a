"""Episodes that run side by side: the one place where a world is stepped and an episode ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from real2sim.actions import check_actions, terminates
from real2sim.simulation.suite import Start, Suite


class State(Protocol):
    """What a world remembers of the episodes it draws."""

    def select(self, indices: Sequence[int]) -> Any:
        """The state of some of its episodes only."""

    def join(self, other: Any) -> Any | None:
        """The state of its episodes, then those of the other; None if they cannot be one batch now."""


class World(Protocol):
    """Draws the next camera frame of every episode: a world model, or physics."""

    @property
    def name(self) -> str:
        """What rows call it, e.g. ``"world_model"`` or ``"mujoco"``."""

    @property
    def frame_passes_per_frame(self) -> int:
        """Passes of the network over one frame that one new frame costs; 0 for physics."""

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> Any:
        """A state that stands at the start frames."""

    def step(self, state: Any, actions: np.ndarray) -> tuple[np.ndarray, Any]:
        """Next frames uint8 (b h w 3) and state, for actions (b 13)."""

    def outcomes(self, state: Any) -> np.ndarray | None:
        """Whether each episode's task is done, bool (b,), where the world knows; None where a judge must
        look."""


@dataclass(frozen=True)
class Moment:
    """All lanes after a step; a lane that had ended before keeps its last frame and is not ``stepped``."""

    frames: np.ndarray
    """uint8 (lanes h w 3)."""
    actions: np.ndarray
    """What the world was given, float32 (lanes 13): unused fields are zero."""
    stepped: np.ndarray
    """bool (lanes,)."""
    terminated: np.ndarray
    """The action asked to end the episode, bool (lanes,)."""
    truncated: np.ndarray
    """The horizon was reached, bool (lanes,)."""
    success: np.ndarray | None
    """Whether the task is done, bool (lanes,), in a world that knows."""


@dataclass
class _Group:
    """Lanes that are drawn as one batch."""

    lanes: np.ndarray
    state: Any


class Lanes:
    """``count`` slots for episodes of one suite in one world.

    A slot stands still when its episode ends; it costs nothing more and begins again only when `begin` says
    so. Whenever they began, lanes are one batch if their world can draw them so.
    """

    def __init__(self, world: World, suite: Suite, count: int, policy: str = "policy") -> None:
        if count < 1:
            raise ValueError(f"the number of lanes must be at least 1, got {count}")
        self._world, self._suite, self._policy = world, suite, policy
        self._groups: list[_Group] = []
        self.frames = np.zeros((count, *suite.config.image_size, 3), dtype=np.uint8)
        self.steps = np.zeros(count, dtype=int)
        self.running = np.zeros(count, dtype=bool)
        self._horizons = np.zeros(count, dtype=int)

    def begin(self, lanes: Sequence[int], starts: Sequence[Start], seeds: Sequence[int]) -> None:
        """Put new episodes into some lanes, whatever ran there before."""
        chosen = np.asarray(lanes, dtype=int)
        self.running[chosen] = False
        self._drop_ended()
        state = self._world.reset(starts, seeds)
        self._groups.append(_Group(chosen, state))
        self.frames[chosen] = np.stack([start.frame for start in starts])
        self._horizons[chosen] = [start.task.horizon for start in starts]
        self.steps[chosen] = 0
        self.running[chosen] = True

    def step(self, actions: np.ndarray) -> Moment:
        """Move every running lane by its row of ``actions`` (lanes 13); rows of ended lanes are not looked
        at."""
        stepped = self.running.copy()
        if not stepped.any():
            raise RuntimeError("every episode has ended; begin new ones before the next step")
        prepared = self._prepare(actions, stepped)
        success: np.ndarray | None = None
        self._join_groups()
        for group in self._groups:
            frames, group.state = self._world.step(group.state, prepared[group.lanes])
            self.frames[group.lanes] = frames
            outcomes = self._world.outcomes(group.state)
            if outcomes is not None:
                success = np.zeros(len(stepped), dtype=bool) if success is None else success
                success[group.lanes] = outcomes
        self.steps[stepped] += 1
        terminated = stepped & terminates(prepared)
        truncated = stepped & ~terminated & (self.steps >= self._horizons)
        self.running &= ~(terminated | truncated)
        self._drop_ended()
        return Moment(self.frames.copy(), prepared, stepped, terminated, truncated, success)

    def _prepare(self, actions: np.ndarray, running: np.ndarray) -> np.ndarray:
        actions = np.array(actions)
        if actions.ndim == 2 and len(actions) == len(running):
            actions[~running] = 0
        step = int(self.steps[running].max())
        checked = check_actions(
            actions, self._suite.bounds, policy=self._policy, step=step, lanes=len(running)
        )
        return np.where(self._suite.used, checked, np.float32(0))

    def _join_groups(self) -> None:
        joined: list[_Group] = []
        for group in self._groups:
            for other in joined:
                state = other.state.join(group.state)
                if state is not None:
                    other.lanes, other.state = np.concatenate([other.lanes, group.lanes]), state
                    break
            else:
                joined.append(group)
        self._groups = joined

    def _drop_ended(self) -> None:
        kept = []
        for group in self._groups:
            alive = self.running[group.lanes]
            if alive.all():
                kept.append(group)
            elif alive.any():
                kept.append(_Group(group.lanes[alive], group.state.select(np.flatnonzero(alive).tolist())))
        self._groups = kept
