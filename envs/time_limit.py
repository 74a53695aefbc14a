"""Time limits: Gymnasium's becomes the environment's own horizon, also where it is wrapped by hand, so that the episode
that it cuts is judged, and the environment's own becomes the one that ``spec`` tells."""

from __future__ import annotations

import copy
import sys
from types import FrameType
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
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
                # A horizon that was given stands above the limit of the registered id.
                inner._max_episode_steps = environment.step_limit or inner._max_episode_steps
            inner = inner.env


def limit_of_callers(env: gymnasium.Env[Any, Any]) -> int | None:
    """The fewest steps of the time limits around ``env`` whose ``reset`` has led to this call; None without one.  No
    wrapper tells the environment inside of itself, but each calls it."""
    limits: list[int] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, TimeLimit) and caller.unwrapped is env:
            limits.append(caller._max_episode_steps)
        frame = frame.f_back
    return min(limits, default=None)


class SpecWithLimit:
    """Gives an environment whose class has ``step_limit`` a ``spec`` that says it."""

    _spec: EnvSpec | None = None

    @property
    def step_limit(self) -> int | None:
        """Steps after which every episode is cut; None where tasks differ in that."""
        raise NotImplementedError

    @property
    def spec(self) -> EnvSpec | None:
        """How Gymnasium makes the environment; ``max_episode_steps`` is the horizon."""
        if self._spec is None:
            return None
        spec = copy.copy(self._spec)
        spec.max_episode_steps = self.step_limit
        return spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = spec
