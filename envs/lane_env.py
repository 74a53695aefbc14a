"""Gymnasium environments on lanes: a vector environment, and a scalar one with a single lane."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from real2sim.checks import check_choice, check_flag, check_seed, check_whole
from real2sim.envs.arguments import check_arguments, check_options, lane_seeds
from real2sim.envs.robot_spaces import action_space, from_normalized, observation_space, observed
from real2sim.envs.time_limit import SpecWithLimit
from real2sim.envs.verdicts import Reward, Verdicts
from real2sim.simulation.action_checks import as_numbers, check_shape, without_ending
from real2sim.simulation.contracts import Judge, World
from real2sim.simulation.lanes import Lanes
from real2sim.simulation.suite import Start, Suite
from real2sim.simulation.suite_config import MOST_STEPS

MOST_LANES = 100_000
"""Of one environment; no machine draws more at once."""
LANE_ATTRIBUTES = ("task", "task_description", "_max_episode_steps")


class LaneVectorEnv(SpecWithLimit, VectorEnv):  # type: ignore[type-arg]
    """A vector environment whose lanes are simulated as one batch.

    ``reset(seed=, options=)`` takes one seed for lanes seed, seed + 1, ... or a list, and as options

    - ``task``: name of a task, or one name per lane;
    - ``start``: id of a start frame, or one per lane (else it is drawn from the lane's seed);
    - ``episode_seed``: where the world's noise comes from, or one per lane (else drawn from the lane's seed);
      with the ``start`` and ``seed`` of a row of a run folder it gives that row's episode again;
    - ``reset_mask``: bool array, which lanes begin anew; the others go on.

    Nothing restarts by itself (``AutoresetMode.DISABLED``): a lane that has ended stands still, keeps its
    flags and gives reward 0 until it is reset; stepping when all have ended is an error.

    ``horizon`` cuts episodes after so many steps instead of at their task's horizon, ``reward`` is described in
    `real2sim.envs.verdicts.Verdicts`, and ``terminate=False`` lets no action end an episode: the numbers that ask for
    it are replaced by those that go on.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's convention
        "render_modes": ["rgb_array"],
        "render_fps": 3,
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __new__(cls, *arguments: Any, **given: Any) -> LaneVectorEnv:
        """Python's own sentence does not say what was meant; a copy is made without arguments."""
        check_arguments(given, cls)
        return super().__new__(cls)

    def __init__(
        self,
        world: World,
        suite: Suite,
        num_envs: int,
        task: str | None = None,
        judge: Judge | None = None,
        render_mode: str | None = None,
        normalized_actions: bool = False,
        max_episode_steps: int | None = None,
        horizon: int | None = None,
        reward: Reward = "success",
        terminate: bool = True,
    ) -> None:
        if render_mode is not None:
            check_choice("render_mode", render_mode, self.metadata["render_modes"], " or None")
        check_whole("num_envs", num_envs, 1, MOST_LANES)
        normalized_actions = check_flag("normalized_actions", normalized_actions)
        terminate = check_flag("terminate", terminate)
        self._suite = suite
        self._task = None if task is None else suite.task(task).name
        self._horizon = None if horizon is None else check_whole("horizon", horizon, 1, MOST_STEPS)
        self.limit_steps(max_episode_steps)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self._robot = self.robot = suite.robot
        self.normalized_actions = normalized_actions
        self.metadata = {**self.metadata, "render_fps": self._robot.frame_hz}
        self.single_observation_space = observation_space(self._robot)
        self.single_action_space = action_space(self._robot, normalized_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._verdicts, self._terminate = Verdicts(judge, reward, num_envs), terminate
        self.cut_after: int | None = None
        """Steps after which something outside cuts the episodes that begin from now on, be they judged by then."""
        self._lanes = Lanes(world, suite, num_envs, policy="given to step")
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._starts: list[Start | None] = [None] * num_envs
        self._seeds = [0] * num_envs
        self._terminated = np.zeros(num_envs, dtype=bool)
        self._truncated = np.zeros(num_envs, dtype=bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """First observations, and the episodes that begin."""
        self._check_open("reset")
        options = check_options(options)
        lanes = self._masked(options.get("reset_mask"))
        generators = self._seeded(lanes, seed)
        begun = [(lane, *self._choose(lane, generators[lane], options)) for lane in lanes]
        # What is refused above has changed nothing.
        self._generators[:] = [
            generators.get(lane, generator) for lane, generator in enumerate(self._generators)
        ]
        for lane, start, episode_seed in begun:
            self._starts[lane], self._seeds[lane] = start, episode_seed
            self._terminated[lane] = self._truncated[lane] = False
        starts = [start for _, start, _ in begun]
        self._lanes.begin(lanes, starts, [seed for _, _, seed in begun])
        self._verdicts.begin(lanes, starts)
        infos: dict[str, Any] = {}
        for lane in lanes:
            infos = self._add_info(infos, self._description(lane), lane)
        return observed(self._robot, self._lanes.observe()), infos

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Next observations, rewards (lanes,), terminated, truncated and infos, for actions (lanes n), or
        (lanes K n) where the robot takes K actions per frame."""
        self._check_open("step")
        if any(start is None for start in self._starts):
            raise ResetNeeded("call reset before step")
        if not self._lanes.running.any():
            raise ResetNeeded("every episode has ended; call reset before the next step")
        shape, alone = self.action_space.shape, self._robot.actions_per_frame == 1
        assert shape is not None
        actions = check_shape(actions, "step", shape, *([(shape[0], 1, shape[1])] if alone else []))
        if self.normalized_actions:
            actions = from_normalized(self._robot, actions)
        result = self._lanes.step(actions if self._terminate else without_ending(actions, self._robot))
        self._terminated |= result.terminated
        self._truncated |= result.truncated
        rewards, verdicts = self._verdicts.after(result)
        infos: dict[str, Any] = {}
        for lane, verdict in enumerate(verdicts):
            infos = self._add_info(infos, self._description(lane) | verdict, lane)
        seen = observed(self._robot, self._lanes.observe())
        return seen, rewards, self._terminated.copy(), self._truncated.copy(), infos

    def limit_steps(self, steps: int | None) -> None:
        """Cut episodes that begin from now on after so many steps, or, for None, at their task's horizon.

        Where the environment has a ``horizon`` of its own, that stays.
        """
        limit = None if steps is None else check_whole("max_episode_steps", steps, 1, MOST_STEPS)
        if self._horizon is not None:
            # The limit of a registered id is its task's horizon; nobody asked for it.
            if limit not in (None, self._horizon, *(task.horizon for task in self._suite.tasks)):
                raise ValueError(
                    f"horizon is {self._horizon} and max_episode_steps {limit}; give one of them"
                )
            limit = self._horizon
        self._limit = limit

    @property
    def step_limit(self) -> int | None:
        """Steps after which every episode is cut; None where tasks differ in that."""
        tasks = self._suite.tasks if self._task is None else (self._suite.task(self._task),)
        limits = {self._limit or task.horizon for task in tasks}
        return limits.pop() if len(limits) == 1 else None

    def call(self, name: str, *arguments: Any, **options: Any) -> tuple[Any, ...]:
        """An attribute of every lane, as Gymnasium's other vector environments give it: ``task_description``,
        ``task`` or ``_max_episode_steps``."""
        if name not in LANE_ATTRIBUTES:
            raise AttributeError(f"a lane has no attribute {name!r}; it has {', '.join(LANE_ATTRIBUTES)}")
        return tuple(self.lane_attribute(lane, name) for lane in range(self.num_envs))

    def lane_attribute(self, lane: int, name: str) -> Any:
        """What `call` gives of one lane; before the first reset that of the task it will have."""
        start = self._starts[lane]
        task = start.task if start is not None else self._suite.task(self._task or self._suite.tasks[0].name)
        if name == "_max_episode_steps":
            return self._limit or task.horizon
        return task.instruction if name == "task_description" else task.name

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """The canvas with the cameras' frames, one per lane."""
        self._check_open("render")
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render was called without a render_mode; make the environment with 'rgb_array'"
            )
            return None
        if any(start is None for start in self._starts):
            raise ResetNeeded("call reset before render")
        return tuple(frame.copy() for frame in self._lanes.frames)

    def _check_open(self, call: str) -> None:
        if self.closed:
            raise ClosedEnvironmentError(
                f"{call} was called after close; make a new environment, or call close last"
            )

    def _masked(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        mask = as_numbers(mask, "reset_mask", "values")
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"reset_mask must be a bool array ({self.num_envs},) with at least one True, got {mask!r}"
            )
        if any(start is None for lane, start in enumerate(self._starts) if not mask[lane]):
            raise ResetNeeded("the first reset must start every lane; leave out reset_mask")
        return [int(lane) for lane in np.flatnonzero(mask)]

    def _seeded(
        self, lanes: Sequence[int], seed: int | Sequence[int | None] | None
    ) -> dict[int, np.random.Generator]:
        """The generator of each lane: a new one where a seed is given, else a copy of the one that it has."""
        seeds = lane_seeds(seed, self.num_envs)
        found: dict[int, np.random.Generator] = {}
        for lane in lanes:
            given, before = seeds[lane], self._generators[lane]
            if given is not None or before is None:
                found[lane] = seeding.np_random(given)[0]
            else:
                found[lane] = copy.deepcopy(before)
        return found

    def _choose(
        self, lane: int, generator: np.random.Generator, options: Mapping[str, Any]
    ) -> tuple[Start, int]:
        # Both numbers are drawn even where an option replaces them, so that options do not shift later
        # episodes.
        place, noise = generator.random(), int(generator.integers(2**63))
        task_names = [task.name for task in self._suite.tasks]
        task_draw = generator.random()
        name = self._option(options, "task", lane)
        if name is None:
            name = self._task or task_names[int(task_draw * len(task_names))]
        starts = self._suite.starts(self._suite.task(name).name)
        wanted = self._option(options, "start", lane)
        if wanted is None:
            start = starts[int(place * len(starts))]
        else:
            found = {start.id: start for start in starts}
            if str(wanted) not in found:
                raise ValueError(
                    f"task {name!r} has no start {wanted!r}; it has {len(starts)}, from "
                    f"{starts[0].id!r} to {starts[-1].id!r}"
                )
            start = found[str(wanted)]
        horizon = min(self._limit or start.task.horizon, self.cut_after or MOST_STEPS)
        if horizon != start.task.horizon:
            start = replace(start, task=replace(start.task, horizon=horizon))
        seed = self._option(options, "episode_seed", lane)
        return start, noise if seed is None else check_seed("option episode_seed", seed)

    def _option(self, options: Mapping[str, Any], name: str, lane: int) -> Any:
        value: Any = options.get(name)
        if not isinstance(value, list | tuple | range) and not getattr(value, "shape", ()):
            return value
        # Tables of pandas have an index of their own.
        value = list(value)
        if len(value) != self.num_envs:
            raise ValueError(
                f"option {name!r} has {len(value)} values for {self.num_envs} lanes; give one, "
                "or one per lane"
            )
        return value[lane]

    def _description(self, lane: int) -> dict[str, Any]:
        start = self._starts[lane]
        assert start is not None
        return {
            "instruction": start.instruction,
            "task": start.task.name,
            "start": start.id,
            "episode_seed": self._seeds[lane],
            "steps": int(self._lanes.steps[lane]),
        }
