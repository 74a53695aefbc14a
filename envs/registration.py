"""The Gymnasium ids of this project; registering them loads nothing that an environment needs."""

from __future__ import annotations

from gymnasium.envs import registration as gymnasium_ids

DRAWER_TASKS = {"Close": "close_drawer", "Open": "open_drawer", "": None}
"""Part of the id -> task; without one, the task is chosen at reset."""


def register_envs() -> None:
    """Make the ids known to `gymnasium.make`; calling it again changes nothing."""
    for part, task in DRAWER_TASKS.items():
        _register(
            f"real2sim/Drawer{part}-v0",
            "real2sim.envs.world_model_env:WorldModelEnv",
            "real2sim.envs.world_model_env:WorldModelVectorEnv",
            {"suite": "drawer", "task": task},
        )
        _register(
            f"real2sim/PhysicsDrawer{part}-v0",
            "real2sim.envs.physics_env:PhysicsDrawerEnv",
            "real2sim.envs.physics_env:PhysicsDrawerVectorEnv",
            {"task": task},
        )
    _register(
        "real2sim/WorldModel-v0",
        "real2sim.envs.world_model_env:WorldModelEnv",
        "real2sim.envs.world_model_env:WorldModelVectorEnv",
        {},
    )


def _register(name: str, single: str, vector: str, arguments: dict[str, str | None]) -> None:
    # A second registration would warn.
    if name not in gymnasium_ids.registry:
        gymnasium_ids.register(id=name, entry_point=single, vector_entry_point=vector, kwargs=arguments)
