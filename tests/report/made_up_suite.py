"""A made-up suite: policies on two tasks, paired starts, and a simulator that errs in some of the episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

TASKS = ("close_drawer", "open_drawer")


@dataclass(frozen=True)
class MadeUp:
    episodes: pd.DataFrame
    real: pd.DataFrame
    real_episodes: pd.DataFrame
    labels: pd.DataFrame


def make_suite(
    policies: int = 8, starts: int = 40, error: float = 0.06, seed: int = 0, sets: bool = False
) -> MadeUp:
    rng = np.random.default_rng(seed)
    names = [f"policy-{i}" for i in range(policies)]
    sim, real = [], []
    for place, name in enumerate(names):
        skill = (place + 0.5) / policies
        for task in TASKS:
            for start in range(starts):
                truth = rng.random() < skill
                seen = truth if rng.random() >= error else not truth
                key = {"policy": name, "task": task, "start": f"{task}-{start}"}
                real.append(key | {"success": bool(truth)})
                sim.append(
                    key
                    | {
                        "episode": f"{name}-{task}-{start}",
                        "family": "ladder" if place < 2 else name,
                        "set": "scripted controllers" if sets and place >= policies // 2 else "policies",
                        "seed": start,
                        "success": bool(seen),
                        "probability": 0.9 if seen else 0.1,
                        "steps": int(rng.integers(5, 20)),
                        "frame_passes": 60,
                    }
                )
    real_episodes = pd.DataFrame(real)
    rates = real_episodes.groupby(["policy", "task"])["success"].agg(["sum", "count"]).reset_index()
    rates.columns = ["policy", "task", "successes", "episodes"]
    labels = pd.DataFrame({"label": rng.random(120) < 0.5, "task": rng.choice(TASKS, 120)})
    labels["success"] = np.where(rng.random(120) < 0.95, labels["label"], ~labels["label"])
    episodes = pd.DataFrame(sim)
    episodes["frame_passes"] = 3 * episodes["steps"]
    return MadeUp(episodes, rates, real_episodes, labels)
