"""The drawer robot in MuJoCo as Gymnasium environments, with the spaces of the learned ones."""

from __future__ import annotations

from real2sim.drawer.world import DrawerWorld
from real2sim.envs.lane_env import LaneEnv, LaneVectorEnv
from real2sim.simulation.suite import load_suite


class PhysicsDrawerVectorEnv(LaneVectorEnv):
    """Many lanes of `PhysicsDrawerEnv`; one after the other, since physics is not drawn as a batch."""

    def __init__(self, num_envs: int = 1, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(DrawerWorld(), load_suite("drawer"), num_envs, task, None, render_mode)


class PhysicsDrawerEnv(LaneEnv):
    """The drawer robot in MuJoCo (``-v0``; extra ``[physics]``; renders without a display).

    Observation, action, endings, options and infos are those of
    `real2sim.envs.world_model_env.WorldModelEnv` on the drawer suite, so that a policy can be tried in both.
    The reward at the end is 1 where the drawer joint says that the task is done: above -0.03 m for
    ``close_drawer``, below -0.12 m for ``open_drawer`` (0 is closed, -0.16 m fully open).
    """

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(PhysicsDrawerVectorEnv(1, task, render_mode))
