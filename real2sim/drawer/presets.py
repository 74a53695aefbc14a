"""What the drawer robot hands to the general parts: its goals, and what can be read from its frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from real2sim.drawer.physics import CLOSED_ABOVE, OPEN_BELOW, TASKS
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.success.goals import Goal, MeasuredGoals

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
