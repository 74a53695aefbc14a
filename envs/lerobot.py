"""World models as LeRobot's evaluation wants its environments, so that ``lerobot-eval`` runs inside them.

LeRobot asks a folder's ``env.py`` for ``make_env(n_envs, use_async_envs, cfg)``; ``examples/lerobot_hub/env.py`` is one
(LeRobot 0.6, ``lerobot/envs/factory.py`` and ``lerobot/scripts/lerobot_eval.py``).  Nothing of LeRobot is imported.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from real2sim.checks import check_flag, check_whole
from real2sim.envs.arguments import check_mapping, lane_seeds
from real2sim.envs.lane_env import MOST_LANES, LaneVectorEnv
from real2sim.envs.physics_env import PhysicsVectorEnv
from real2sim.envs.robot_spaces import from_normalized
from real2sim.envs.world_model_env import WorldModelVectorEnv
from real2sim.robot import Robot
from real2sim.simulation.action_checks import as_numbers, check_shape
from real2sim.simulation.suite import load_suite
from real2sim.worlds import PHYSICS_WORLD

WORLD_MODEL = "world_model"
Result = tuple[dict[str, Any], float, bool, bool, dict[str, Any]]


def make_env(
    n_envs: int = 1,
    use_async_envs: bool = False,
    cfg: Any = None,
    *,
    suite: str = "drawer",
    task: str | None = None,
    world: str = WORLD_MODEL,
    clip_actions: bool = False,
    **options: Any,
) -> VectorEnv[Any, Any, Any] | dict[str, dict[int, VectorEnv[Any, Any, Any]]]:
    """The vector environment of a task, or, without ``task``, ``{suite: {number of the task: vector environment}}``.

    ``world`` is ``world_model`` for the suite's own, a folder, or ``mujoco`` for physics; ``clip_actions`` sets actions
    outside the robot's bounds to the bound, which else are an error; ``options`` are those of
    `real2sim.envs.world_model_env.WorldModelEnv`.  ``cfg`` is LeRobot's configuration of the environment, of which
    nothing is read.  Synchronous environments are one batch; of asynchronous ones each process loads the model.
    """
    check_whole("n_envs", n_envs, 1, MOST_LANES)
    use_async_envs = check_flag("use_async_envs", use_async_envs)
    clip_actions = check_flag("clip_actions", clip_actions)
    found = load_suite(suite)
    made = partial(_lanes, suite=suite, world=world, clip_actions=clip_actions, options=options)
    if task is not None:
        return _vector(partial(made, task=found.task(task).name), n_envs, use_async_envs)
    return {
        found.name: {
            number: _vector(partial(made, task=each.name), n_envs, use_async_envs)
            for number, each in enumerate(found.tasks)
        }
    }


def features(robot: Robot) -> dict[str, tuple[str, tuple[int, ...], str]]:
    """Kind in LeRobot's words, shape, and name in a policy's configuration, of what `make_env` shows and takes."""
    cameras = {
        f"pixels/{camera.name}": (
            "VISUAL",
            (camera.height, camera.width, 3),
            f"observation.images.{camera.name}",
        )
        for camera in robot.cameras
    }
    state = {"agent_pos": ("STATE", (len(robot.state),), "observation.state")} if robot.state_from else {}
    return {**cameras, **state, "action": ("ACTION", (robot.action_width,), "action")}


class LeRobotLanes:
    """Lanes that take one action of the robot per step, and draw a frame every K-th step.

    In between the frames stay, and ``agent_pos`` follows the commanded targets where it is made of them.
    """

    def __init__(self, env: LaneVectorEnv, clip_actions: bool = False) -> None:
        self.env, self.robot = env, env.robot
        self._clip = clip_actions
        self._waiting: list[np.ndarray] = []
        self._begun = False
        self._seen: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]
        self._results: list[Result | None] = [None] * env.num_envs
        robot = env.robot
        frames: dict[str, spaces.Space[Any]] = {
            c.name: spaces.Box(0, 255, (c.height, c.width, 3), np.uint8) for c in robot.cameras
        }
        parts: dict[str, spaces.Space[Any]] = {"pixels": spaces.Dict(frames)}
        if isinstance(env.single_observation_space, spaces.Dict):
            parts |= {k: v for k, v in env.single_observation_space.items() if k != "pixels"}
        self.observation_space = spaces.Dict(parts)
        single: Any = env.single_action_space
        low, high = (single.low, single.high) if single.low.ndim == 1 else (single.low[0], single.high[0])
        self.action_space = spaces.Box(low, high, dtype=np.float32)

    def reset(
        self, lane: int, seed: int | None, options: dict[str, Any] | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new episode in one lane: its first observation and info."""
        seeds: list[int | None] = [None] * self.env.num_envs
        if not self._begun:
            self.env.reset()
            self._begun = True
        seeds[lane] = seed
        mask = np.arange(self.env.num_envs) == lane
        seen, infos = self.env.reset(seed=seeds, options={**(options or {}), "reset_mask": mask})
        self._waiting, self._results[lane] = [], None
        self._seen[lane] = self._observation(seen, lane)
        return self._seen[lane], self._info(infos, lane)

    def step(self, actions: np.ndarray) -> None:
        """One action (lanes n) of every lane; `take` gives what came of it."""
        shape = (self.env.num_envs, self.robot.action_width)
        actions = check_shape(actions, "step", shape).astype(np.float32)
        if not np.isfinite(actions).all():
            lane, place = (int(i) for i in np.argwhere(~np.isfinite(actions))[0])
            raise ValueError(
                f"step, lane {lane}: {self.robot.action_names[place]} is {actions[lane, place]:g}, expected a finite "
                "number"
            )
        if self._clip:
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        self._waiting.append(actions)
        if len(self._waiting) < self.robot.actions_per_frame:
            self._results = [self._between(lane, actions[lane]) for lane in range(len(actions))]
            return
        chunk, self._waiting = np.stack(self._waiting, axis=1), []
        seen, rewards, terminated, truncated, infos = self.env.step(self.robot.recorded(chunk))
        for lane in range(len(actions)):
            self._seen[lane] = self._observation(seen, lane)
            ended = bool(terminated[lane]), bool(truncated[lane])
            self._results[lane] = (self._seen[lane], float(rewards[lane]), *ended, self._info(infos, lane))

    def take(self, lane: int) -> Result | None:
        """What came of the last step in a lane; None if it was taken before."""
        result, self._results[lane] = self._results[lane], None
        return result

    def steps(self, lane: int) -> int:
        """Steps after which a lane's episode is cut."""
        return int(self.env.lane_attribute(lane, "_max_episode_steps")) * self.robot.actions_per_frame

    def _between(self, lane: int, action: np.ndarray) -> Result:
        seen = dict(self._seen[lane])
        if self.env.normalized_actions:
            action = from_normalized(self.robot, action)
        if self.robot.state_from == "action":
            seen["agent_pos"] = action[
                [self.robot.action_names.index(name) for name in self.robot.state_names]
            ]
        return seen, 0.0, False, False, {"is_success": False}

    def _observation(self, seen: Any, lane: int) -> dict[str, Any]:
        if not isinstance(seen, dict):
            return {"pixels": {self.robot.cameras[0].name: seen[lane].copy()}}
        pixels = {name: frames[lane].copy() for name, frames in seen["pixels"].items()}
        return {"pixels": pixels} | {k: v[lane].copy() for k, v in seen.items() if k != "pixels"}

    def _info(self, infos: dict[str, Any], lane: int) -> dict[str, Any]:
        info = {
            name: values[lane].item() if isinstance(values[lane], np.generic) else values[lane]
            for name, values in infos.items()
            if not name.startswith("_") and infos[f"_{name}"][lane]
        }
        # Without a judge nothing is known; LeRobot counts every episode all the same.
        return {"is_success": False} | info


class LeRobotEnv(gymnasium.Env):  # type: ignore[type-arg]
    """One lane as LeRobot takes an environment (``-v0``).

    *Observation*: ``pixels``, uint8 (h, w, 3) by camera, and ``agent_pos``, float32 (m,), for a robot with a state.
    *Action*: float32 (n,), one of the robot's actions in its units; a robot that takes K per frame sees a new frame
    every K-th step.  ``info`` holds ``is_success``; the environment has ``task``, ``task_description`` and
    ``_max_episode_steps``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 3}  # noqa: RUF012 - Gymnasium's convention

    def __init__(self, lanes: LeRobotLanes, lane: int = 0) -> None:
        self._lanes, self._lane = lanes, lane
        self.observation_space, self.action_space = lanes.observation_space, lanes.action_space
        self.render_mode = "rgb_array"
        self.metadata = {**self.metadata, "render_fps": max(1, round(lanes.robot.control_hz))}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """First observation and info of a new episode; LeRobot's own options (``lerobot_...``) are not ours to read."""
        (seed,) = lane_seeds(seed, 1)
        super().reset(seed=seed)
        given = check_mapping(options)
        own = {name: value for name, value in given.items() if not str(name).startswith("lerobot_")}
        return self._lanes.reset(self._lane, seed, own)

    def step(self, action: np.ndarray) -> Result:
        """What came of this lane's action; alone, the lane is stepped here."""
        result = self._lanes.take(self._lane)
        if result is None:
            if self._lanes.env.num_envs != 1:
                raise RuntimeError(
                    "lanes that are drawn as one batch are stepped by their vector environment"
                )
            self._lanes.step(as_numbers(action, "step")[None])
            result = self._lanes.take(self._lane)
        assert result is not None
        return result

    def render(self) -> np.ndarray:  # type: ignore[override]
        """The canvas with the cameras' frames, uint8 (h w 3)."""
        frames = self._lanes.env.render()
        assert frames is not None
        return frames[self._lane]

    def close(self) -> None:
        """Close the lanes, of which all end together."""
        self._lanes.env.close()

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self._lanes.env.lane_attribute(self._lane, "task"))

    @property
    def task_description(self) -> str:
        """The instruction of the episode."""
        return str(self._lanes.env.lane_attribute(self._lane, "task_description"))

    @property
    def _max_episode_steps(self) -> int:
        return self._lanes.steps(self._lane)


class CheckedReset:
    """A vector environment of Gymnasium that says what is wrong with seeds and options."""

    num_envs: int

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """First observations and infos."""
        seeds = lane_seeds(seed, self.num_envs)
        above: Any = super()
        return above.reset(seed=seeds, options=None if options is None else check_mapping(options))


class LeRobotAsyncEnv(CheckedReset, AsyncVectorEnv):
    """Gymnasium's asynchronous vector environment, a world model in each process."""


class LeRobotVectorEnv(CheckedReset, SyncVectorEnv):
    """Gymnasium's synchronous vector environment, whose lanes are drawn as one batch and begin anew in the step in
    which they end (``AutoresetMode.SAME_STEP``), as LeRobot makes its own."""

    def __init__(self, lanes: LeRobotLanes) -> None:
        self._batch = lanes
        super().__init__(
            [partial(LeRobotEnv, lanes, lane) for lane in range(lanes.env.num_envs)],
            autoreset_mode=AutoresetMode.SAME_STEP,
        )

    def step(self, actions: np.ndarray) -> Any:
        """One action (lanes n) of every lane."""
        self._batch.step(actions)
        return super().step(actions)


def _lanes(
    count: int, *, suite: str, task: str, world: str, clip_actions: bool, options: dict[str, Any]
) -> LeRobotLanes:
    chosen: dict[str, Any] = {
        "num_envs": count,
        "suite": suite,
        "task": task,
        "render_mode": "rgb_array",
        **options,
    }
    if world == PHYSICS_WORLD:
        return LeRobotLanes(PhysicsVectorEnv(**chosen), clip_actions)
    if world != WORLD_MODEL:
        chosen["world_model"] = world
    return LeRobotLanes(WorldModelVectorEnv(**chosen), clip_actions)


def _alone(made: partial[LeRobotLanes]) -> LeRobotEnv:
    return LeRobotEnv(made(1))


def _vector(made: partial[LeRobotLanes], count: int, asynchronous: bool) -> VectorEnv[Any, Any, Any]:
    if not asynchronous:
        return LeRobotVectorEnv(made(count))
    makers = [partial(_alone, made)] * count
    # Forked processes would share torch's threads, which do not survive it.
    return LeRobotAsyncEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP, context="spawn")
