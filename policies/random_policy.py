"""A policy with uniform random actions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from real2sim.checks import check_seed
from real2sim.policies.policy import Observation, check_instructions, observed_frames
from real2sim.robot import Robot
from real2sim.simulation.action_checks import without_ending
from real2sim.simulation.lane_lists import check_seeds


class RandomPolicy:
    """Uniform actions inside the robot's bounds; never asks to end the episode.

    A binary number is 0 or 1 with equal chance, one number of each one-hot group is 1.

    Each lane has its own stream: lane i of the first reset draws from (seed, 0, i), of the second from
    (seed, 1, i).  `seed` replaces this by one seed per episode.
    """

    def __init__(self, robot: Robot, seed: int = 0) -> None:
        if not isinstance(robot, Robot):
            raise ValueError(f"robot is of type {type(robot).__name__}, expected a real2sim.robot.Robot")
        self._robot, self._seed = robot, check_seed("seed", seed)
        self._resets = 0
        self._next_seeds: list[int] | None = None
        self._streams: list[np.random.Generator] = []

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that the next `reset` begins."""
        self._next_seeds = check_seeds(seeds)

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin one random stream per instruction."""
        instructions = check_instructions(instructions)
        if self._next_seeds is not None and len(self._next_seeds) != len(instructions):
            raise ValueError(
                f"{len(self._next_seeds)} seeds for {len(instructions)} instructions; give one each"
            )
        addresses = (
            [[self._seed, self._resets, lane] for lane in range(len(instructions))]
            if self._next_seeds is None
            else [[self._seed, seed] for seed in self._next_seeds]
        )
        self._streams = [np.random.default_rng(address) for address in addresses]
        self._next_seeds = None
        self._resets += 1

    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes K n), or (lanes n) where K is 1."""
        robot = self._robot
        observed_frames(observation, len(self._streams))
        shape = (robot.actions_per_frame, robot.action_width)
        drawn = [stream.uniform(robot.low, robot.high, shape) for stream in self._streams]
        actions = np.array(drawn, dtype=np.float32).reshape(-1, *shape)
        if robot.binary.any():
            actions = self._pressed(actions)
        return robot.recorded(without_ending(actions, robot))

    def _pressed(self, actions: np.ndarray) -> np.ndarray:
        """Actions (lanes K n) whose binary numbers, uniform from 0 to 1, are rounded; the largest of a group is 1."""
        robot = self._robot
        rounded = np.where(robot.binary, actions >= 0.5, actions).astype(np.float32)
        for places in robot.one_hot_places:
            rounded[..., places] = np.eye(len(places), dtype=np.float32)[actions[..., places].argmax(axis=-1)]
        return rounded
