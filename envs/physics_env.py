"""The physics of a suite as Gymnasium environments, with the spaces of the learned ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from real2sim.envs.arguments import check_arguments
from real2sim.envs.lane_env import LaneVectorEnv
from real2sim.envs.scalar_env import LaneEnv
from real2sim.envs.verdicts import Reward
from real2sim.envs.world_model_env import find_judge
from real2sim.simulation.contracts import Judge
from real2sim.simulation.suite import load_suite
from real2sim.worlds import PHYSICS_WORLD, open_world


class PhysicsVectorEnv(LaneVectorEnv):
    """Many lanes of `PhysicsEnv`; one after the other, since physics is not drawn as a batch."""

    def __init__(
        self,
        num_envs: int = 1,
        suite: str = "drawer",
        task: str | None = None,
        render_mode: str | None = None,
        normalized_actions: bool = False,
        max_episode_steps: int | None = None,
        horizon: int | None = None,
        reward: Reward = "success",
        terminate: bool = True,
        judge: str | Path | Judge | None = None,
    ) -> None:
        found = load_suite(suite)
        super().__init__(
            open_world(PHYSICS_WORLD, found),
            found,
            num_envs,
            task,
            find_judge(judge, found),
            render_mode,
            normalized_actions,
            max_episode_steps,
            horizon,
            reward,
            terminate,
        )


class PhysicsEnv(LaneEnv):
    """A task of a suite in the physics that plays its real robot (``-v0``; renders without a display).

    Observation, action, endings, options and infos are those of `real2sim.envs.world_model_env.WorldModelEnv` on the
    same suite, so that a policy can be tried in both.  The reward at the end is 1 where physics says that the task is
    done.  The drawer suite needs the extra ``[physics]``: ``close_drawer`` is done where the drawer joint stands above
    -0.03 m, ``open_drawer`` where it stands below -0.12 m (0 is closed, -0.16 m fully open).

    *Arguments*: as of `WorldModelEnv`; a ``judge``, none by default, changes no outcome, but its probability is then
    what ``reward="progress"`` and ``success_probability`` go by.
    """

    def __init__(
        self, suite: str = "drawer", task: str | None = None, render_mode: str | None = None, **more: Any
    ) -> None:
        check_arguments(more, PhysicsVectorEnv, type(self))
        super().__init__(PhysicsVectorEnv(1, suite, task, render_mode, **more))
