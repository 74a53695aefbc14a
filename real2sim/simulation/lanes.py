"""A batch of running episodes: the one place where a world is stepped and episodes end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from real2sim.simulation.action_checks import as_numbers, check_actions
from real2sim.simulation.contracts import World
from real2sim.simulation.observation import Observation, observe
from real2sim.simulation.suite import Start, Suite


@dataclass(frozen=True)
class StepResult:
    """All lanes after a step; a lane that had ended before keeps its last frame and is not ``stepped``."""

    frames: np.ndarray
    """uint8 (lanes h w 3)."""
    actions: np.ndarray
    """What was executed, float32 (lanes K n): numbers that the robot ignores are zero."""
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
    """Lanes that are simulated as one batch."""

    lanes: np.ndarray
    state: Any


class Lanes:
    """``count`` slots for episodes of one suite in one world.

    A lane whose episode has ended costs nothing and stays as it is until `begin` starts another one in it. Lanes
    that started at different times still share one batch if their world allows it.
    """

    def __init__(self, world: World, suite: Suite, count: int, policy: str = "policy") -> None:
        if count < 1:
            raise ValueError(f"the number of lanes must be at least 1, got {count}")
        self._world, self._suite, self._policy = world, suite, policy
        self._groups: list[_Group] = []
        self._robot = suite.robot
        self.frames = np.zeros((count, *self._robot.canvas_size, 3), dtype=np.uint8)
        self._instructions = [""] * count
        self._states = np.zeros((count, len(self._robot.state)), dtype=np.float32)
        self.steps = np.zeros(count, dtype=int)
        self.running = np.zeros(count, dtype=bool)
        self._horizons = np.zeros(count, dtype=int)

    def begin(self, lanes: Sequence[int], starts: Sequence[Start], seeds: Sequence[int]) -> None:
        """Start new episodes in some lanes, replacing what ran there."""
        chosen = np.asarray(lanes, dtype=int)
        self.running[chosen] = False
        self._drop_ended()
        state = self._world.reset(starts, seeds)
        self._groups.append(_Group(chosen, state))
        self.frames[chosen] = np.stack([start.frame for start in starts])
        for lane, start in zip(chosen.tolist(), starts, strict=True):
            self._instructions[lane] = start.instruction
            if start.robot_state is not None:
                self._states[lane] = start.robot_state
        self._horizons[chosen] = [start.task.horizon for start in starts]
        self.steps[chosen] = 0
        self.running[chosen] = True

    def observe(self) -> Observation:
        """What a policy is given now; lanes that have ended keep what they saw last."""
        state = self._robot_states() if self._robot.state_from is not None else None
        return observe(self._robot, self.frames.copy(), self._instructions, state)

    def step(self, actions: np.ndarray) -> StepResult:
        """Move every running lane by its row of ``actions``, (lanes K n) or (lanes n) where K is 1; rows of ended
        lanes are ignored."""
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
        if self._robot.state_from == "action":
            places = [self._robot.action_names.index(name) for name in self._robot.state_names]
            self._states[stepped] = prepared[stepped][:, -1, places]
        terminated = stepped & self._robot.terminates(prepared).any(axis=1)
        truncated = stepped & ~terminated & (self.steps >= self._horizons)
        self.running &= ~(terminated | truncated)
        self._drop_ended()
        return StepResult(self.frames.copy(), prepared, stepped, terminated, truncated, success)

    def _prepare(self, actions: np.ndarray, running: np.ndarray) -> np.ndarray:
        """Actions (lanes K n) as they are executed, zeros for lanes that have ended."""
        step = int(self.steps[running].max())
        actions, robot = np.array(as_numbers(actions, f"policy {self._policy!r}, step {step}")), self._robot
        if actions.ndim and len(actions) == len(running) and actions.shape[-1] == robot.action_width:
            # Whatever a policy answers for a lane that has ended is replaced by something that is allowed.
            actions[~running] = robot.low if actions.dtype.kind == "f" else 0
        checked = check_actions(actions, robot, policy=self._policy, step=step, lanes=len(running))
        return np.where(running[:, None, None] & robot.used, checked, np.float32(0))

    def _robot_states(self) -> np.ndarray:
        """Proprioceptive state (lanes m): the world's where it has one, else the last commanded targets."""
        for group in self._groups:
            known = self._world.robot_state(group.state)
            if known is not None:
                self._states[group.lanes] = known
            elif self._robot.state_from == "model":
                raise ValueError(
                    f"world {self._world.name!r} does not predict the state of robot {self._robot.name!r}, which its "
                    "policies are given; train the world model with a state, or set state_from to null"
                )
        return self._states.copy()

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
