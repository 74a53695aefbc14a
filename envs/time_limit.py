"""A time limit of Gymnasium's becomes the environment's own horizon, so that the episode that it cuts is judged."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import TimeLimit


class JudgedTimeLimit(gymnasium.Wrapper, RecordConstructorArgs):  # type: ignore[type-arg]
    """Tells the environment inside how many steps ``max_episode_steps`` leaves it."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        inner: Any = env
        while inner is not env.unwrapped:
            if isinstance(inner, TimeLimit):
                environment: Any = inner.unwrapped
                environment.limit_steps(inner._max_episode_steps)
            inner = inner.env
