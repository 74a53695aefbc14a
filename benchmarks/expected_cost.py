"""What a frame of a released model should cost: operations counted on tensors without data, over a device's peaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.model import Vid2World
from real2sim.vid2world.released.sampler import Sampler, SamplerConfig

H100_FLOPS, H100_BANDWIDTH = 989e12, 3.35e12
"""Dense bfloat16 operations and bytes per second of an H100 SXM, of NVIDIA's data sheet of the H100 (which gives 1,979
TFLOP/s with sparsity, twice the dense figure)."""
STEPS = (50, 10, 5, 2, 1)
BYTES = 2
"""Of a bfloat16 number."""


@dataclass(frozen=True)
class Peaks:
    """What a device can do at best."""

    flops: float = H100_FLOPS
    """Operations per second."""
    bandwidth: float = H100_BANDWIDTH
    """Bytes of memory per second."""


@dataclass(frozen=True)
class Part:
    """One call of a network for one lane."""

    flops: float
    """Operations, an addition and a multiplication counted as two."""
    weights: float
    """Bytes of weights that it reads."""

    def seconds(self, peaks: Peaks, times: float = 1) -> float:
        """Least time of ``times`` calls: of arithmetic or of reading the weights, whichever is longer."""
        return times * max(self.flops / peaks.flops, self.weights / peaks.bandwidth)


@dataclass(frozen=True)
class Parts:
    """The calls that a frame is made of, once the history is full."""

    whole: Part
    """The U-Net over the whole window."""
    single: Part
    """The U-Net over the new frame, with a cached history."""
    decode: Part
    encode: Part
    tokens: Part
    """Image tower and resampler, for the first frame of a window."""


@dataclass(frozen=True)
class FrameCost:
    """A new frame of one lane."""

    sampler: SamplerConfig
    passes: int
    """Passes of the U-Net over one frame."""
    flops: float
    seconds: float
    """Least time on the device."""


def counted_parts(config: Vid2WorldConfig) -> Parts:
    """Count the operations of one lane with a full history; weights are bfloat16."""
    with torch.device("meta"):
        model = Vid2World(config).to(torch.bfloat16).eval().requires_grad_(False)
        past, unet = config.history, config.unet
        height, width = config.latent_shape[-2:]
        pictures = torch.zeros(1, 3, *config.picture_size)
        context = model._tokens(pictures)
        window = torch.zeros(1, unet.in_channels, past + 1, height, width)
        levels, actions = torch.zeros(1, past + 1), torch.zeros(1, past + 1, unet.action_dim or 0)
        latent = torch.zeros(1, *config.latent_shape, dtype=torch.bfloat16)
        images = pictures.to(torch.bfloat16)
        cache = model.unet.step(window, levels, None, context, actions, remember=past)[1]
        return Parts(
            _part(model.unet, lambda: model.unet(window, levels, context, actions)),
            _part(
                model.unet,
                lambda: model.unet.step(
                    window[:, :, -1:], levels[:, -1:], cache, context, actions[:, -1:], remember=0
                ),
            ),
            _part(model.autoencoder, lambda: model.autoencoder.decode(latent)),
            _part(model.autoencoder, lambda: model.autoencoder.encode(images, latent)),
            _part(nn.ModuleList([model.image_encoder, model.resampler]), lambda: model._tokens(pictures)),
        )


def _part(network: nn.Module, call: Callable[[], Any]) -> Part:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return Part(float(counter.get_total_flops()), float(BYTES * sum(p.numel() for p in network.parameters())))


def frame_cost(config: Vid2WorldConfig, parts: Parts, sampler: SamplerConfig, peaks: Peaks) -> FrameCost:
    """The cost of the frame after a full history; the window moves on, so its first frame is looked at again."""
    # Only its counts are asked for.
    drawing = Sampler(nn.Module(), sampler)  # type: ignore[arg-type]
    whole = -(-sampler.steps // drawing.whole_every)
    branches, guided = drawing.branches, drawing.branches == 2
    # The branches of guidance are one batch, which reads the weights once.
    both = [Part(branches * part.flops, part.weights) for part in (parts.whole, parts.single)]
    looked = guided and sampler.unconditional_image == "decoded"
    calls = (
        (both[0], whole),
        (both[1], sampler.steps - whole),
        (parts.decode, 1 + looked),
        (parts.encode, 1),
        (parts.tokens, 1 + looked),
    )
    return FrameCost(
        sampler,
        drawing.frame_passes(config.history),
        sum(times * part.flops for part, times in calls),
        sum(part.seconds(peaks, times) for part, times in calls),
    )


def settings(steps: Sequence[int] = STEPS) -> list[SamplerConfig]:
    """Sampler settings: steps, with and without guidance, exact and cached history."""
    return [
        replace(SamplerConfig(), steps=count, guidance=guidance, history=history)  # type: ignore[arg-type]
        for count in steps
        for guidance in (2.5, 1.0)
        for history in ("exact", "cached")
    ]


def cost_table(costs: Sequence[FrameCost], measured: Sequence[float | None] | None = None) -> str:
    """Markdown: a row per setting; measured seconds beside expected ones where there are some."""
    header = ["steps", "guidance", "history", "passes", "TFLOP", "expected s"]
    if measured is not None:
        header += ["measured s", "times expected"]
    rows = []
    for number, cost in enumerate(costs):
        sampler = cost.sampler
        row = [
            str(sampler.steps),
            f"{sampler.guidance:g}",
            sampler.history,
            str(cost.passes),
            f"{cost.flops / 1e12:.3g}",
            f"{cost.seconds:.3g}",
        ]
        if measured is not None:
            seconds = measured[number]
            row += ["-", "-"] if seconds is None else [f"{seconds:.3g}", f"{seconds / cost.seconds:.1f}"]
        rows.append(row)
    lines = [header, ["---:"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
