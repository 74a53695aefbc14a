"""Lanes of an environment for Stable-Baselines3 (extra ``[rl]``), drawn as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from real2sim.checks import check_seed
from real2sim.envs.lane_env import LaneVectorEnv
from real2sim.simulation.action_checks import check_shape
from real2sim.wording import did_you_mean


class StableBaselinesLanes(VecEnv):  # type: ignore[misc]
    """A `LaneVectorEnv` as Stable-Baselines3's algorithms take it: lanes that end begin anew by themselves.

    An action is a vector from -1 to 1, one number for each of ``acts`` (names of the robot's action numbers; by default
    all that the robot obeys but those that end an episode), -1 being its lower bound and 1 its upper one.  The others
    stay at 0, or at the bound next to it.  Make the environment with ``terminate=False`` unless ``acts`` holds the
    numbers that end an episode.  ``info`` of a step that ends an episode holds ``is_success``,
    ``terminal_observation`` and ``TimeLimit.truncated``.
    """

    def __init__(self, env: LaneVectorEnv, acts: Sequence[str] | None = None) -> None:
        if not isinstance(env, LaneVectorEnv):
            raise ValueError(
                f"env is of type {type(env).__name__}, expected lanes of real2sim without wrappers, as "
                "gymnasium.make_vec makes them"
            )
        robot = env.robot
        names = list(robot.action_names)
        if acts is None:
            ending = robot.terminate or ()
            acts = [name for name, used in zip(names, robot.used, strict=True) if used and name not in ending]
        if isinstance(acts, str) or not isinstance(acts, Sequence) or not len(acts):
            raise ValueError(f"acts is {acts!r}, expected a list with the name of at least one action number")
        if len(set(map(str, acts))) != len(acts):
            raise ValueError(f"acts names an action number twice: {', '.join(map(str, acts))}")
        for name in acts:
            if name not in names:
                raise ValueError(
                    f"robot {robot.name!r} has no action number {name!r}{did_you_mean(str(name), names)}; it has "
                    f"{', '.join(names)}"
                )
        if env.normalized_actions:
            raise ValueError("make the environment without normalized_actions; these lanes scale actions")
        self.env, self._robot = env, robot
        self._places = [names.index(name) for name in acts]
        self._rest = np.clip(np.zeros(len(names), np.float32), robot.low, robot.high)
        self._actions = np.zeros((env.num_envs, 0), np.float32)
        size = len(self._places) * robot.actions_per_frame
        super().__init__(env.num_envs, env.single_observation_space, spaces.Box(-1, 1, (size,), np.float32))
        self.render_mode = env.render_mode

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds seed, seed + 1, ... for the lanes of the next reset; drawn at random for None."""
        given: Sequence[int | None] = super().seed(None if seed is None else check_seed("seed", seed))
        return given

    def reset(self) -> Any:
        """First observations of all lanes; `seed` says from which seeds."""
        seeds = None if self._seeds[0] is None else list(self._seeds)
        seen, infos = self.env.reset(seed=seeds)
        self.reset_infos = [_of_lane(infos, lane) for lane in range(self.num_envs)]
        self._reset_seeds()
        return seen

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions (lanes m) for `step_wait`."""
        size = len(self._places) * self._robot.actions_per_frame
        self._actions = check_shape(actions, "step", (self.num_envs, size))

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Next observations, rewards (lanes,), dones (lanes,) and an info per lane; ended lanes have begun anew."""
        seen, rewards, terminated, truncated, all_infos = self.env.step(self._to_robot(self._actions))
        infos = [_of_lane(all_infos, lane) for lane in range(self.num_envs)]
        done = terminated | truncated
        for lane in np.flatnonzero(done).tolist():
            infos[lane]["terminal_observation"] = _observation_of(seen, lane)
            infos[lane]["TimeLimit.truncated"] = bool(truncated[lane] and not terminated[lane])
        if done.any():
            seen, begun = self.env.reset(options={"reset_mask": done})
            for lane in np.flatnonzero(done).tolist():
                self.reset_infos[lane] = _of_lane(begun, lane)
        return seen, rewards.astype(np.float32), done, infos

    def close(self) -> None:
        """Release the world's resources."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """The canvases of all lanes."""
        return self.env.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environment, once per lane."""
        value = getattr(self.env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: lanes share one environment."""
        raise NotImplementedError("lanes share one environment; set the attribute of `env`")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **more: Any) -> list[Any]:
        """Refused: lanes share one environment."""
        raise NotImplementedError("lanes share one environment; call the method of `env`")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No lane has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]

    def _to_robot(self, actions: np.ndarray) -> np.ndarray:
        """Actions (lanes K n), or (lanes n) where K is 1, in the robot's units."""
        robot = self._robot
        given = np.clip(actions, -1, 1).reshape(len(actions), robot.actions_per_frame, len(self._places))
        whole = np.tile(self._rest, (len(actions), robot.actions_per_frame, 1))
        low, high = robot.low[self._places], robot.high[self._places]
        whole[..., self._places] = low + (given + 1) / 2 * (high - low)
        return robot.recorded(whole)


def _of_lane(infos: dict[str, Any], lane: int) -> dict[str, Any]:
    """One lane's info of a vector environment's."""
    return {
        name: values[lane].item() if isinstance(values[lane], np.generic) else values[lane]
        for name, values in infos.items()
        if not name.startswith("_") and infos[f"_{name}"][lane]
    }


def _observation_of(seen: Any, lane: int) -> Any:
    if isinstance(seen, dict):
        return {name: _observation_of(part, lane) for name, part in seen.items()}
    return seen[lane].copy()
