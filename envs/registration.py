"""The Gymnasium ids of this project; registering them loads nothing that an environment needs."""

from __future__ import annotations

from typing import Any

from gymnasium.envs import registration as gymnasium_ids

from real2sim.built_in import PHYSICS, shipped_suites

WORLD_MODEL, PHYSICS_ENV = "real2sim.envs.world_model_env:WorldModel", "real2sim.envs.physics_env:Physics"


def register_envs() -> None:
    """Make the ids known to `gymnasium.make`; calling it again changes nothing.

    Each shipped suite has ids for its tasks and one whose task is chosen at reset: ``real2sim/DrawerClose-v0`` is
    ``close_drawer`` of the suite ``drawer``, ``real2sim/PhysicsDrawerClose-v0`` the same in physics.
    """
    for suite, tasks in shipped_suites().items():
        for task in (*tasks, None):
            name = environment_name(suite, task)
            _register(f"real2sim/{name}-v0", WORLD_MODEL, {"suite": suite, "task": task})
            if suite in PHYSICS:
                _register(f"real2sim/Physics{name}-v0", PHYSICS_ENV, {"suite": suite, "task": task})
    _register("real2sim/WorldModel-v0", WORLD_MODEL, {})


def environment_name(suite: str, task: str | None) -> str:
    """The part of an id that names suite and task: ``DrawerClose`` for ``close_drawer`` of ``drawer``."""
    words = [] if task is None else [word for word in task.split("_") if word != suite]
    return "".join(word[:1].upper() + word[1:] for word in [*suite.split("_"), *words])


def _register(name: str, classes: str, arguments: dict[str, Any]) -> None:
    # A second registration would warn.
    if name not in gymnasium_ids.registry:
        gymnasium_ids.register(
            id=name, entry_point=f"{classes}Env", vector_entry_point=f"{classes}VectorEnv", kwargs=arguments
        )
