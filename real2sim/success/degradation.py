"""Augmentation that makes physics frames look like generated ones, which a judge trained on physics has to judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from real2sim.checks import check_finite, check_whole
from real2sim.training.augmentation import MOST_PIXELS

Defect = Callable[..., Tensor]
"""Frames (b t c h w), perhaps a strength, and a generator -> a damaged copy."""


@dataclass(frozen=True)
class DegradationConfig:
    """How often and how strongly each defect of generated frames is imitated."""

    probability: float = 0.5
    """Chance of each defect in each episode, independently."""
    clean: float = 0.15
    """Share of episodes left as they are."""
    shift: int = 2
    """Largest shift of the whole episode in pixels."""
    colour: float = 0.12
    """Largest change of brightness, contrast and colour balance; 1 is the distance from black to mid-grey."""
    noise: float = 0.08
    """Largest standard deviation of the noise in frames scaled to [-1, 1]."""
    blur: float = 1.6
    """Largest standard deviation of the blur in pixels."""
    smear: int = 16
    """Largest side in pixels of a box in which all detail is washed out."""

    def __post_init__(self) -> None:
        for name, most in {
            "probability": 1,
            "clean": 1,
            "colour": 2,
            "noise": 2,
            "blur": MOST_PIXELS,
        }.items():
            check_finite(name, getattr(self, name), 0, most)
        for name in ("shift", "smear"):
            check_whole(name, getattr(self, name), 0, MOST_PIXELS)


def degrade(frames: Tensor, config: DegradationConfig, generator: torch.Generator) -> Tensor:
    """A degraded copy of frames (b t c h w, in [-1, 1]).

    Shift and colour change the whole episode alike.  The other defects spare the first frame of each
    episode, which in a generated episode is a camera frame.
    """
    dirty = torch.rand(len(frames), generator=generator) >= config.clean

    def chosen() -> Tensor:
        return dirty & (torch.rand(len(frames), generator=generator) < config.probability)

    def apply(defect: Defect, *strength: float) -> None:
        some = chosen()
        if some.any():
            drawn[some] = defect(drawn[some], *strength, generator)

    drawn = frames[:, 1:].clone()
    apply(ghost)
    apply(smear, config.smear)
    apply(resample)
    apply(blur, config.blur)
    apply(noise, config.noise)
    apply(patch_noise, config.noise)
    drawn = torch.cat([frames[:, :1], drawn], dim=1)
    apply(colour, config.colour)
    return shift(drawn, config.shift, chosen(), generator).clamp_(-1, 1)


def _uniform(
    frames: Tensor, low: float, high: float, generator: torch.Generator, channels: int = 1
) -> Tensor:
    """One number (or one per channel) per episode, shaped (b 1 c 1 1)."""
    return low + (high - low) * torch.rand(len(frames), 1, channels, 1, 1, generator=generator)


def ghost(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Each frame mixed with the one before it: an average of two possible futures."""
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    return torch.lerp(frames, before, _uniform(frames, 0, 0.35, generator))


def smear(frames: Tensor, largest: int, generator: torch.Generator) -> Tensor:
    """Every frame with one box washed out, at a place of its own in each episode."""
    if largest < 2:
        return frames
    b, _, _, h, w = frames.shape
    washed = _at_size(frames, (max(1, h // 8), max(1, w // 8)))
    side = torch.randint(2, largest + 1, (b, 2), generator=generator)
    corner = torch.rand(b, 2, generator=generator) * (torch.tensor([h, w]) - side).clamp(min=0)
    rows, columns = torch.arange(h)[None, :, None], torch.arange(w)[None, None, :]
    top, left = corner[:, :1, None], corner[:, 1:, None]
    inside = (rows >= top) & (rows < top + side[:, :1, None])
    inside = inside & (columns >= left) & (columns < left + side[:, 1:, None])
    return torch.where(inside[:, None, None], torch.lerp(frames, washed, 0.7), frames)


def resample(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames shrunk to between 40 and 90 % of their size and enlarged again."""
    h, w = frames.shape[-2:]
    factor = 0.4 + 0.5 * float(torch.rand((), generator=generator))
    return _at_size(frames, (max(1, round(h * factor)), max(1, round(w * factor))))


def _at_size(frames: Tensor, size: tuple[int, int]) -> Tensor:
    flat = frames.flatten(0, 1)
    small = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False, antialias=True)
    return functional.interpolate(
        small, size=frames.shape[-2:], mode="bilinear", align_corners=False
    ).view_as(frames)


def blur(frames: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur; the width is drawn once, the amount of it for each episode."""
    sigma = max(0.3, largest * float(torch.rand((), generator=generator)))
    offsets = torch.arange(-4, 5, dtype=frames.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    h, w = frames.shape[-2:]
    # As two small matrices this is several times faster than a convolution of single channels.
    rows, columns = (_band(kernel, size) for size in (h, w))
    return torch.lerp(frames, rows @ frames @ columns.T, _uniform(frames, 0.3, 1, generator))


def _band(kernel: Tensor, size: int) -> Tensor:
    """Matrix (size, size) that convolves a line with the kernel and repeats its ends."""
    half_width = len(kernel) // 2
    matrix = torch.zeros(size, size)
    for offset, weight in enumerate(kernel.tolist(), start=-half_width):
        source = (torch.arange(size) + offset).clamp(0, size - 1)
        matrix[torch.arange(size), source] += weight
    return matrix


def noise(frames: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Independent Gaussian noise on every pixel."""
    return frames + _uniform(frames, 0, largest, generator) * torch.randn(frames.shape, generator=generator)


def patch_noise(frames: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Noise that is constant over 4x4 pixels, the patches that a small world model draws."""
    b, t, c, h, w = frames.shape
    coarse = torch.randn(b, t, c, -(-h // 4), -(-w // 4), generator=generator)
    patches = coarse.repeat_interleave(4, dim=-2).repeat_interleave(4, dim=-1)[..., :h, :w]
    return frames + _uniform(frames, 0, largest, generator) * patches


def colour(frames: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Changed contrast, brightness and colour balance, alike in all frames of an episode."""
    contrast = _uniform(frames, 1 - largest, 1 + largest, generator)
    brightness = _uniform(frames, -largest, largest, generator)
    balance = _uniform(frames, -largest / 2, largest / 2, generator, channels=frames.shape[2])
    return frames * contrast + brightness + balance


def shift(frames: Tensor, largest: int, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Episodes in ``mask`` (b) moved by up to ``largest`` pixels; the border is repeated."""
    if largest == 0:
        return frames
    h, w = frames.shape[-2:]
    moves = torch.randint(-largest, largest + 1, (len(frames), 2), generator=generator)
    moves = torch.where(mask[:, None], moves, torch.zeros_like(moves)) + largest
    padded = functional.pad(frames, (largest, largest, largest, largest, 0, 0), mode="replicate")
    corners = zip(padded, moves.tolist(), strict=True)
    return torch.stack([video[..., top : top + h, left : left + w] for video, (top, left) in corners])
