"""What the drawer suite hands to the general parts: its goals."""

from __future__ import annotations

from real2sim.drawer.physics import CLOSED_ABOVE, OPEN_BELOW, TASKS
from real2sim.success.goals import Goal, MeasuredGoals


def drawer_goals() -> MeasuredGoals:
    """The two goals of the drawer suite, with the thresholds of its physics."""
    goals = (
        Goal(TASKS["close_drawer"], CLOSED_ABOVE, above=True),
        Goal(TASKS["open_drawer"], OPEN_BELOW, above=False),
    )
    return MeasuredGoals("drawer", goals)
