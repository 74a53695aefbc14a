from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.actions import pack
from real2sim.drawer.presets import EXPERT_LABELS
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.npz import EXPERT_LABELS_FILE
from real2sim.files import write_json


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve episodes of 16 x 16 pixels: the bright half of the picture says whether to move left or right, the task
    whether to move forward or back."""
    folder = tmp_path_factory.mktemp("demonstrations")
    rng = np.random.default_rng(0)
    for index in range(12):
        side = rng.integers(2, size=8)
        image = rng.integers(0, 40, size=(8, 16, 16, 3), dtype=np.uint8)
        for t in range(8):
            image[t, :, 8 * side[t] : 8 * side[t] + 8] += 200
        aside = np.where(side, 0.06, -0.06)
        mode = np.tile([0, 1, 0], (8, 1))
        labels = {
            name: pack(
                {
                    "world_vector": np.stack([aside, np.full(8, y), np.zeros(8)], axis=1),
                    "terminate_episode": mode,
                }
            )
            for name, y in (("expert_close", 0.05), ("expert_open", -0.05))
        }
        task = "close_drawer" if index % 2 else "open_drawer"
        episode = {
            "image": image,
            "action": labels["expert_close" if index % 2 else "expert_open"],
            "state": np.stack([aside, rng.normal(size=8)], axis=1).astype(np.float32),
            "instruction": np.array(task.replace("_", " ")),
            "task": np.array(task),
            "success": np.array(True),
            "controller": np.array("expert"),
            **labels,
        }
        write_arrays(folder / f"episode_{index:05d}.npz", episode)
    write_json(folder / EXPERT_LABELS_FILE, EXPERT_LABELS)
    return folder
