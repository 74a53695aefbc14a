"""What led to each frame of a training window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from real2sim.episodes.arrays import write_arrays
from real2sim.vid2world.training.windows import WindowSource
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig


def test_each_frame_is_told_the_action_before_it_and_the_first_one_none(tmp_path: Path) -> None:
    """Frame i of the episode is grey level 10 i, action i has the value i + 1."""
    steps = 8
    image = np.broadcast_to(10 * np.arange(steps, dtype=np.uint8)[:, None, None, None], (steps, 16, 16, 3))
    action = np.repeat(np.arange(1, steps + 1, dtype=np.float32)[:, None], 13, axis=1)
    write_arrays(tmp_path / "0.npz", {"image": image, "action": action, "instruction": np.array("x")})
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig.tiny())
    window = WindowSource(tmp_path, 3).draw(model, 64, np.random.default_rng(0))
    number = ((window.latents.mean(dim=(1, 3, 4)) + 1) * 127.5 / 10).round().int()
    assert set(number[:, 0].tolist()) == set(range(6))
    # Action i leads from frame i to i + 1 and has the value i + 1: the number of the frame, and 0 for frame 0.
    torch.testing.assert_close(window.actions[..., 0].int(), number)
