"""Counts what the small world model costs for a robot of one's own: parameters, and operations per frame.

    python -m benchmarks.world_model_cost --height 96 --width 256 --numbers 6 --per-frame 10

Weights are random; nothing is trained.  Operations are those that torch's counter sees (matrix products and
convolutions), two per multiplication with addition.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from real2sim.robot import ActionNumber, Camera, Robot
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig


def configuration(height: int, width: int, numbers: int, per_frame: int) -> WorldModelConfig:
    """The default configuration of `real2sim train world-model` for a robot of these sizes."""
    robot = Robot(
        "counted",
        tuple(ActionNumber(f"joint {number}", -1, 1) for number in range(numbers)),
        actions_per_frame=per_frame,
        cameras=(Camera("canvas", height, width),),
    )
    return WorldModelConfig.small().for_robot(robot)


def count(config: WorldModelConfig, frames: int = 3) -> tuple[int, int, list[float]]:
    """Parameters, passes of the network per frame, and 10^9 operations of each of the first frames drawn."""
    model = WorldModel(config).eval()
    state = model.reset(np.zeros((1, *config.image_size, 3), np.uint8), [0])
    operations = []
    for _ in range(frames):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            _, state = model.step(state, np.zeros((1, len(config.action_scale)), np.float32))
        operations.append(counter.get_total_flops() / 1e9)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, model.frame_passes_per_frame, operations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=96, help="of the canvas with all cameras, pixels")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--numbers", type=int, default=6, help="numbers of one action")
    parser.add_argument("--per-frame", type=int, default=10, help="actions per frame")
    options = parser.parse_args()
    config = configuration(options.height, options.width, options.numbers, options.per_frame)
    parameters, passes, operations = count(config)
    listed = ", ".join(f"{value:.1f}" for value in operations)
    print(
        f"{parameters / 1e6:.2f} million parameters; {passes} passes per frame; first frames: {listed} GFLOP each"
    )


if __name__ == "__main__":
    main()
