"""Builds the full-size Vid2World with random bfloat16 weights and draws one frame with it.

    python benchmarks/full_size.py --steps 2 --guidance 1

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2, help="denoising steps (published: 50)")
    parser.add_argument(
        "--guidance", type=float, default=1.0, help="1 is none (published: 2.5, twice the cost)"
    )
    parser.add_argument("--frames", type=int, default=1, help="frames to draw, each with one more of history")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="toy size, to try the script")
    options = parser.parse_args()

    config = Vid2WorldConfig.tiny() if options.tiny else Vid2WorldConfig()
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
