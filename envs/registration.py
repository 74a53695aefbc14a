"""The Gymnasium ids of this project; registering them loads nothing that an environment needs."""

from __future__ import annotations

import os
import sys
from typing import Any

from gymnasium.envs import registration as gymnasium_ids
from gymnasium.envs.registration import WrapperSpec

from real2sim.built_in import PHYSICS, shipped_suites

WORLD_MODEL, PHYSICS_ENV = "real2sim.envs.world_model_env:WorldModel", "real2sim.envs.physics_env:Physics"
TIME_LIMIT = "real2sim.envs.time_limit:JudgedTimeLimit"
_registered = False


class ScalarWrappers(tuple[WrapperSpec, ...]):
    """Wrappers of the scalar environment alone: `gymnasium.make_vec` refuses a vector class whose id has any, and
    ours takes ``max_episode_steps`` as an argument."""

    def __len__(self) -> int:
        return 0


def register_envs() -> None:
    """Make the ids known to `gymnasium.make`; calling it again changes nothing.

    Each shipped suite has ids for its tasks and one whose task is chosen at reset: ``real2sim/DrawerClose-v0`` is
    ``close_drawer`` of the suite ``drawer``, ``real2sim/PhysicsDrawerClose-v0`` the same in physics.
    """
    for suite, tasks in shipped_suites().items():
        for task in (*tasks, None):
            name = environment_name(suite, task)
            limits = {horizon for other, horizon in tasks.items() if task in (other, None)}
            # Where tasks differ, the one that is chosen at reset decides.
            limit = limits.pop() if len(limits) == 1 else None
            _register(f"real2sim/{name}-v0", WORLD_MODEL, {"suite": suite, "task": task}, limit)
            if suite in PHYSICS:
                _register(f"real2sim/Physics{name}-v0", PHYSICS_ENV, {"suite": suite, "task": task}, limit)
    _register("real2sim/WorldModel-v0", WORLD_MODEL, {}, None)
    if "real2sim/KeyboardMouse-v0" not in gymnasium_ids.registry:
        gymnasium_ids.register(
            id="real2sim/KeyboardMouse-v0",
            entry_point="real2sim.envs.keyboard_mouse_env:KeyboardMouseEnv",
            additional_wrappers=ScalarWrappers([WrapperSpec("JudgedTimeLimit", TIME_LIMIT, {})]),
        )
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_one_thread)
        _registered = True


def _one_thread() -> None:
    """Let torch, where it is loaded, use one thread: its pool of threads does not survive a fork, and asynchronous
    vector environments would wait for it for ever."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def environment_name(suite: str, task: str | None) -> str:
    """The part of an id that names suite and task: ``DrawerClose`` for ``close_drawer`` of ``drawer``, ``SO101Push``
    for ``push`` of ``so101``: words with digits are names of robots, and stand in capitals."""
    words = [] if task is None else [word for word in task.split("_") if word != suite]
    return "".join(
        word.upper() if any(map(str.isdigit, word)) else word[:1].upper() + word[1:]
        for word in [*suite.split("_"), *words]
    )


def _register(name: str, classes: str, arguments: dict[str, Any], limit: int | None) -> None:
    # A second registration would warn.
    if name not in gymnasium_ids.registry:
        gymnasium_ids.register(
            id=name,
            entry_point=f"{classes}Env",
            vector_entry_point=f"{classes}VectorEnv",
            max_episode_steps=limit,
            additional_wrappers=ScalarWrappers([WrapperSpec("JudgedTimeLimit", TIME_LIMIT, {})]),
            kwargs=arguments,
        )
