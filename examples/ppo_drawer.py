"""Train PPO of Stable-Baselines3 in the drawer's world model, and test what it has learned there and in physics.

    python examples/ppo_drawer.py --steps 8000 --episodes 50

Needs the extras ``[rl]`` and ``[physics]``.  Stopped, it goes on with the same command.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

import real2sim  # noqa: F401 - registers the ids
from real2sim.envs.stable_baselines import StableBaselinesLanes

ACTS = ("world_vector.x", "world_vector.y", "world_vector.z")
SAVE_EVERY = 640
WORLD_MODEL, PHYSICS = "real2sim/DrawerClose-v0", "real2sim/PhysicsDrawerClose-v0"


def make(name: str, lanes: int, **more: Any) -> StableBaselinesLanes:
    """Lanes of an environment whose policies move the hand and never end an episode."""
    return StableBaselinesLanes(gymnasium.make_vec(name, num_envs=lanes, terminate=False, **more), ACTS)


def success_rate(name: str, model: PPO | None, episodes: int, seed: int = 10_000) -> float:
    """Share of successful episodes, one per start that is drawn; without a model actions are uniform random."""
    lanes = make(name, episodes)
    lanes.seed(seed)
    seen, rng = lanes.reset(), np.random.default_rng(seed)
    while True:
        if model is None:
            actions = rng.uniform(-1, 1, (episodes, len(ACTS)))
        else:
            actions, _ = model.predict(seen, deterministic=True)
        seen, _, done, infos = lanes.step(actions)
        if done.all():
            lanes.close()
            return float(np.mean([info["is_success"] for info in infos]))


def main() -> None:
    """Train, save, test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("ppo_drawer.zip"))
    parser.add_argument("--tests", nargs="*", default=[WORLD_MODEL, PHYSICS])
    options = parser.parse_args()
    torch.set_num_threads(1)
    lanes = VecMonitor(make(WORLD_MODEL, options.lanes, reward="progress"))
    settings = {"n_steps": 20, "batch_size": 80, "n_epochs": 8, "gamma": 0.95, "seed": 0, "verbose": 1}
    saved = options.out.is_file()
    model = PPO.load(options.out, env=lanes) if saved else PPO("CnnPolicy", lanes, **settings)
    while model.num_timesteps < options.steps:
        model.learn(min(SAVE_EVERY, options.steps - model.num_timesteps), reset_num_timesteps=False)
        model.save(options.out)
    for name in options.tests:
        trained, random = (success_rate(name, policy, options.episodes) for policy in (model, None))
        print(f"{name}: PPO {trained:.0%}, random {random:.0%} of {options.episodes} episodes")


if __name__ == "__main__":
    main()
