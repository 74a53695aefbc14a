"""One lane behind Gymnasium's scalar interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from real2sim.checks import check_seed
from real2sim.envs.lane_env import LaneVectorEnv
from real2sim.envs.time_limit import SpecWithLimit, limit_of_callers
from real2sim.simulation.action_checks import check_shape


class LaneEnv(SpecWithLimit, gymnasium.Env):  # type: ignore[type-arg]
    """A `LaneVectorEnv` with one lane, without the batch dimension."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 3}  # noqa: RUF012 - Gymnasium's convention

    def __init__(self, lanes: LaneVectorEnv) -> None:
        if lanes.num_envs != 1:
            raise ValueError(f"a scalar environment has one lane, got {lanes.num_envs}")
        self._lanes = lanes
        self.render_mode = lanes.render_mode
        self.metadata = {**self.metadata, "render_fps": lanes.metadata["render_fps"]}
        self.observation_space = lanes.single_observation_space
        self.action_space = lanes.single_action_space
        self.robot = lanes.robot

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """First observation, and the episode that begins."""
        seed = None if seed is None else check_seed("seed", seed)
        # The caller may have given a generator of his own.
        if not isinstance(self._np_random, np.random.Generator | None):
            raise ValueError(
                f"np_random is of type {type(self._np_random).__name__}, expected a numpy.random.Generator; "
                "numpy.random.default_rng gives one"
            )
        self._lanes._generators[0], self._lanes.cut_after = self._np_random, limit_of_callers(self)
        seen, infos = self._lanes.reset(seed=seed, options=options)
        self._np_random = self._lanes._generators[0]
        if seed is not None or self._np_random_seed is None:
            # Gymnasium's number for a seed that nobody knows.
            self._np_random_seed = -1 if seed is None else seed
        return _first_lane(seen), _first(infos)

    def limit_steps(self, steps: int | None) -> None:
        """Cut episodes that begin from now on after so many steps, or, for None, at their task's horizon."""
        self._lanes.limit_steps(steps)

    @property
    def step_limit(self) -> int | None:
        """Steps after which every episode is cut; None where tasks differ in that."""
        return self._lanes.step_limit

    @property
    def _max_episode_steps(self) -> int:
        """Steps after which an episode is cut; the name that LeRobot asks for."""
        return int(self._lanes.lane_attribute(0, "_max_episode_steps"))

    @property
    def task_description(self) -> str:
        """The instruction of the episode; the name that LeRobot asks for."""
        return str(self._lanes.lane_attribute(0, "task_description"))

    @property
    def task(self) -> str:
        """The task of the episode."""
        return str(self._lanes.lane_attribute(0, "task"))

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Next observation, reward, terminated, truncated and info, for an action (n,), or (K n) where the robot
        takes K actions per frame."""
        expected = self._lanes.single_action_space.shape
        assert expected is not None
        action = check_shape(action, "step", expected)
        seen, rewards, terminated, truncated, infos = self._lanes.step(action[None])
        return _first_lane(seen), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), _first(infos)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The canvas with the cameras' frames, uint8 (h w 3)."""
        frames = self._lanes.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Release the world's resources."""
        self._lanes.close()


def _first_lane(seen: Any) -> Any:
    return {name: _first_lane(part) for name, part in seen.items()} if isinstance(seen, dict) else seen[0]


def _first(infos: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value[0].item() if isinstance(value[0], np.generic) else value[0]
        for name, value in infos.items()
        if not name.startswith("_") and infos[f"_{name}"][0]
    }
