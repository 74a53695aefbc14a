"""Camera frames to model input and back: enlarged, letterboxed, in [-1, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def content_size(frame_size: tuple[int, int], model_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width that a camera frame has inside the model's picture, bars left out.

    The frame's shorter side becomes the model's shorter side: RT-1's 256 x 320 become 320 x 400 of 320 x 512.  Where
    the other side does not fit then, it becomes the model's other side and bars stand above and below: the game's
    150 x 280 become 275 x 512, rounded up as published.
    """
    height, width = (side * min(model_size) // min(frame_size) for side in frame_size)
    if width > model_size[1]:
        height, width = math.ceil(frame_size[0] * model_size[1] / frame_size[1]), model_size[1]
    if height > model_size[0]:
        height, width = model_size[0], math.ceil(frame_size[1] * model_size[0] / frame_size[0])
    return height, width


def frames_to_pixels(frames: Tensor, model_size: tuple[int, int] = (320, 512)) -> Tensor:
    """Pixels (b 3 H W) in [-1, 1] of uint8 frames (b h w 3).

    RT-1's 256 x 320 frames become 320 x 400 (bilinear, not rounded) between two black bars of 56 columns.
    """
    height, width = content_size((frames.shape[1], frames.shape[2]), model_size)
    values = frames.permute(0, 3, 1, 2).float()
    content = _resize(values, (height, width))
    top, left = _corner((height, width), model_size)
    padded = functional.pad(content, (left, model_size[1] - width - left, top, model_size[0] - height - top))
    return padded / 127.5 - 1


def pixels_to_frames(pixels: Tensor, frame_size: tuple[int, int]) -> Tensor:
    """Frames uint8 (b h w 3) of pixels (b 3 H W): bars are cut off, values outside [-1, 1] clamped."""
    model_size = (pixels.shape[2], pixels.shape[3])
    height, width = content_size(frame_size, model_size)
    top, left = _corner((height, width), model_size)
    content = pixels.float().clamp(-1, 1)[:, :, top : top + height, left : left + width]
    values = ((_resize(content, frame_size) + 1) * 127.5).round().clamp(0, 255)
    return values.to(torch.uint8).permute(0, 2, 3, 1)


def _resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)


def _corner(content: tuple[int, int], model_size: tuple[int, int]) -> tuple[int, int]:
    return (model_size[0] - content[0]) // 2, (model_size[1] - content[1]) // 2
