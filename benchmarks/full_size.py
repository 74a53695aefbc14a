"""Builds the full-size Vid2World with random bfloat16 weights and draws one frame with it.

    python -m benchmarks.full_size --steps 2 --guidance 1
    python -m benchmarks.full_size --expected                  # what a frame should cost on an H100
    python -m benchmarks.full_size --expected --device cuda    # and what it costs here

The frame means nothing; time, memory and the number of U-Net passes do.  Weights are made in bfloat16, with no
float32 copy, so that 2.2 billion parameters (the text tower is not needed for drawing) take 4.5 GB.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks.expected_cost import (
    H100_BANDWIDTH,
    H100_FLOPS,
    Peaks,
    cost_table,
    counted_parts,
    frame_cost,
    settings,
)
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.model import Vid2World
from real2sim.vid2world.released.sampler import SamplerConfig

POOL = 2**20
"""Random numbers that are used again and again; drawing two billion would take longer than the frame."""


def random_model(config: Vid2WorldConfig, dtype: torch.dtype, device: str) -> Vid2World:
    """A model of any size whose weights never exist in another precision."""
    with torch.device("meta"):
        model = Vid2World(config).to(dtype)
    model.to_empty(device=device)
    numbers = torch.randn(POOL, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                # Norm weights are one and biases zero, so that features stay finite.
                parameter.fill_(float(name.endswith("weight")))
                continue
            for part in parameter.view(-1).split(POOL):
                part.copy_(0.02 * numbers[: len(part)])
        model.empty_caption.copy_(numbers[: model.empty_caption.numel()].view_as(model.empty_caption))
    return model.eval().requires_grad_(False)


class PassCounter:
    """Counts the frames that go through a U-Net."""

    def __init__(self, model: Vid2World) -> None:
        self.frames = 0
        model.unet.register_forward_pre_hook(self._count)

    def _count(self, _: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        self.frames += given[0].shape[0] * given[0].shape[2]


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far."""
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def seconds_per_frame(model: Vid2World, sampler: SamplerConfig) -> float:
    """Time of the frame after a full history, the second of two."""
    model.config = replace(model.config, sampler=sampler)
    config, width = model.config, model.config.unet.action_dim or 0
    size = (*config.image_size, 3)
    past = np.zeros((1, config.history - 1, *size), np.uint8)
    state = model.reset(
        np.zeros((1, *size), np.uint8), [0], past, np.zeros((1, len(past[0]), width), np.float32)
    )
    for _ in range(2):
        began = time.perf_counter()
        # Frames come back as arrays, so that a GPU has finished too.
        _, state = model.step(state, np.zeros((1, width), np.float32))
        seconds = time.perf_counter() - began
    return seconds


def print_expected(config: Vid2WorldConfig, peaks: Peaks, device: str) -> None:
    """The table of what frames should cost, and on a GPU what they do."""
    parts = counted_parts(config)
    costs = [frame_cost(config, parts, sampler, peaks) for sampler in settings()]
    print(
        f"one lane, a full history of {config.history} frames, bfloat16, {peaks.flops / 1e12:g} TFLOP/s, "
        f"{peaks.bandwidth / 1e12:g} TB/s; a pass over the whole window {parts.whole.flops / 1e12:.3g} TFLOP, over the "
        f"new frame {parts.single.flops / 1e12:.3g}"
    )
    measured = None
    if device.startswith("cuda"):
        model = random_model(config, torch.bfloat16, device)
        measured = [seconds_per_frame(model, cost.sampler) for cost in costs]
        print(
            f"{torch.cuda.get_device_name()}, peak GPU memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
        )
    print(cost_table(costs, measured))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2, help="denoising steps (published: 50)")
    parser.add_argument(
        "--guidance", type=float, default=1.0, help="1 is none (published: 2.5, twice the cost)"
    )
    parser.add_argument("--frames", type=int, default=1, help="frames to draw, each with one more of history")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="toy size, to try the script")
    parser.add_argument(
        "--expected",
        action="store_true",
        help="print the least cost of a frame per sampler setting; on a GPU also what it costs",
    )
    parser.add_argument(
        "--peak-tflops", type=float, default=H100_FLOPS / 1e12, help="bfloat16, by default an H100's"
    )
    parser.add_argument(
        "--bandwidth", type=float, default=H100_BANDWIDTH / 1e12, help="TB/s, by default an H100's"
    )
    options = parser.parse_args()

    config = Vid2WorldConfig.tiny() if options.tiny else Vid2WorldConfig()
    if options.expected:
        print_expected(config, Peaks(1e12 * options.peak_tflops, 1e12 * options.bandwidth), options.device)
        return
    sampler = SamplerConfig(steps=options.steps, guidance=options.guidance)
    config = replace(config, sampler=sampler)

    begin = time.perf_counter()
    model = random_model(config, torch.bfloat16, options.device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    unet = sum(parameter.numel() for parameter in model.unet.parameters())
    print(
        f"{parameters / 1e9:.2f} billion parameters, {unet / 1e9:.2f} in the U-Net, bfloat16, {options.device}"
    )
    print(f"built in {time.perf_counter() - begin:.1f} s, peak memory {peak_memory_gb():.1f} GB", flush=True)

    counter = PassCounter(model)
    begin = time.perf_counter()
    state = model.reset(np.zeros((1, *config.image_size, 3), np.uint8), [0])
    print(f"start frame encoded in {time.perf_counter() - begin:.1f} s", flush=True)
    for number in range(1, options.frames + 1):
        begin, busy, before = time.perf_counter(), time.process_time(), counter.frames
        frames, state = model.step(state, np.zeros((1, config.unet.action_dim or 0), np.float32))
        seconds, passes = time.perf_counter() - begin, counter.frames - before
        # On a shared machine the processor's seconds say more than the clock's.
        print(
            f"frame {number} {frames.shape[1:]}: {seconds:.1f} s ({time.process_time() - busy:.1f} s of processor), "
            f"{passes} U-Net passes over one frame, peak memory {peak_memory_gb():.1f} GB",
            flush=True,
        )
    if options.device.startswith("cuda"):
        print(f"peak GPU memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
