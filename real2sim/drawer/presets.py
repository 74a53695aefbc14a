"""What the drawer hands to the general parts: robot, goals, expert labels, sizes of models, what its frames show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from real2sim.actions import ActionBounds, rt1_robot
from real2sim.drawer.physics import CLOSED_ABOVE, OPEN_BELOW, TASKS
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.policies.rt1.config import RT1Config
from real2sim.robot import Robot
from real2sim.success.goals import Goal, MeasuredGoals
from real2sim.vid2world.world_model_config import WorldModelConfig

DRAWER_BOUNDS = ActionBounds(world_vector=(-0.06, 0.06))
"""The drawer robot moves its hand at most 6 cm per axis and step; it neither turns nor drives."""

EXPERT_LABELS = {
    "close_drawer": {"instruction": "close drawer", "array": "expert_close"},
    "open_drawer": {"instruction": "open drawer", "array": "expert_open"},
}
"""Task -> its instruction and the array of an episode that holds the clean expert's action in each state."""


def drawer_robot() -> Robot:
    """The drawer robot: RT-1's action, of which it obeys the gripper, the hand's displacement and the end."""
    used = ("gripper_closedness_action", "terminate_episode", "world_vector")
    return rt1_robot("drawer", DRAWER_BOUNDS, used, control_hz=3.0, image_size=(64, 64))


def drawer_world_model() -> WorldModelConfig:
    """Sizes of the world model of the drawer suite."""
    return WorldModelConfig.small().for_robot(drawer_robot())


def drawer_policy() -> RT1Config:
    """Sizes of the policies of the drawer suite, at 64 x 64 pixels."""
    return RT1Config.small().for_robot(drawer_robot())


MEASURED = ("hand", "drawer")
"""Arrays of a recorded episode that its frames show: positions of hand (t 3) and drawer joint (t), metres."""


def drawer_goals() -> MeasuredGoals:
    """The two goals of the drawer suite, with the thresholds of its physics."""
    goals = (
        Goal(TASKS["close_drawer"], CLOSED_ABOVE, above=True),
        Goal(TASKS["open_drawer"], OPEN_BELOW, above=False),
    )
    return MeasuredGoals("drawer", goals)


def perception_targets(data: Path) -> tuple[str, ...]:
    """The arrays of a dataset that its frames show, where they are those of the drawer robot; else none."""
    episode = read_npz(dataset_files(data)[0], [], optional=MEASURED)
    return MEASURED if set(MEASURED) <= set(episode) else ()


def fill_in(config: Any) -> Any:
    """The configuration of a training, with what it leaves open about the drawer robot's datasets."""
    from real2sim.vid2world.training.train_small import TrainWorldModel

    if not isinstance(config, TrainWorldModel) or not config.perception.weight or config.perception.targets:
        return config
    targets = perception_targets(config.data)
    return replace(config, perception=replace(config.perception, targets=targets))
