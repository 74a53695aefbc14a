"""The environment type ``real2sim`` of the command ``lerobot-eval`` (LeRobot 0.6): a suite's world model.

``lerobot-eval --env.discover_packages_path=real2sim.envs.lerobot_eval --env.type=real2sim --env.suite=drawer`` imports
it; it is the one place that imports LeRobot, and is a package because LeRobot imports nothing else.
"""

from dataclasses import dataclass
from typing import Any

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

from real2sim.envs.lerobot import WORLD_MODEL, features, make_env
from real2sim.simulation.suite import load_suite


@EnvConfig.register_subclass("real2sim")
@dataclass
class SuiteConfig(EnvConfig):
    """A suite's tasks in its world model; all of them without ``task``.

    ``world`` is ``world_model``, the folder of another world model, or ``mujoco`` for physics.  The rate and
    the features of observations and actions are the suite's.
    """

    suite: str = "drawer"
    world: str = WORLD_MODEL
    clip_actions: bool = True

    def __post_init__(self) -> None:
        robot = load_suite(self.suite).robot
        found = features(robot)
        self.fps = max(1, round(robot.control_hz))
        self.features = {
            name: PolicyFeature(type=FeatureType[kind], shape=shape)
            for name, (kind, shape, _) in found.items()
        }
        self.features_map = {name: key for name, (_, _, key) in found.items()}

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Nothing: `create_envs` makes the environments."""
        return {}

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> Any:
        """``{"real2sim": {0: vector environment}}`` of the task, or all tasks by the suite's name and number."""
        made = make_env(
            n_envs,
            use_async_envs,
            suite=self.suite,
            task=self.task,
            world=self.world,
            clip_actions=self.clip_actions,
        )
        return made if isinstance(made, dict) else {"real2sim": {0: made}}
