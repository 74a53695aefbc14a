"""Put this file into a folder or a repository of the Hub, and LeRobot evaluates inside a world model.

docs/environments.md shows the command.
"""

from __future__ import annotations

from typing import Any

from real2sim.envs import lerobot

SUITE, TASK = "drawer", "close_drawer"
"""A shipped suite or a suite folder, and one of its tasks; None for all of them."""


def make_env(n_envs: int = 1, use_async_envs: bool = False, cfg: Any = None) -> Any:
    """What LeRobot asks for."""
    return lerobot.make_env(n_envs, use_async_envs, cfg, suite=SUITE, task=TASK, clip_actions=True)
