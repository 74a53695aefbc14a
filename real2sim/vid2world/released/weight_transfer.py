"""Causal weights from the weights of a bidirectional video model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

Transfer = Literal["extrapolative", "masked", "shift"]
"""How a centred kernel becomes a causal one; the released RT-1 model was made with ``extrapolative``."""

# A released temporal convolution is followed in its name by the wrapper that pads it on one side.
TEMPORAL = re.compile(r"(.*\.temopral_conv\.conv(?:1\.2|[2-9]\.3))\.(weight|bias)")
LAST = re.compile(r"((?:.*\.)?out\.2)\.(weight|bias)")


def causal_kernel(kernel: Tensor, transfer: Transfer, axis: int) -> Tensor:
    """The kernel on (t-2, t-1, t) that takes the place of one on (t-1, t, t+1) along ``axis``.

    From Vid2World (arXiv 2505.14357): ``masked`` drops the future; ``extrapolative`` puts the line
    through the past in its place, x[t+1] = 2 x[t] - x[t-1]; ``shift`` moves the kernel back by one frame.
    """
    before, now, after = kernel.float().unbind(axis)
    if transfer == "masked":
        parts = [torch.zeros_like(before), before, now]
    elif transfer == "extrapolative":
        parts = [torch.zeros_like(before), before - after, now + 2 * after]
    elif transfer == "shift":
        parts = [before, now, after]
    else:
        raise ValueError(f"transfer must be one of {', '.join(get_args(Transfer))}, got {transfer!r}")
    return torch.stack(parts, dim=axis)


def causal_name(name: str) -> str:
    """Name of a base model's tensor in the causal model; most stay as they are."""
    if match := TEMPORAL.fullmatch(name):
        return f"{match[1]}.conv3d.{match[2]}"
    if match := LAST.fullmatch(name):
        return f"{match[1]}.conv2d.{match[2]}"
    return name


def transfer_weights(tensors: Mapping[str, Tensor], transfer: Transfer) -> dict[str, Tensor]:
    """Tensors of the causal model from those of the base model, transferred ones as float32.

    The temporal convolutions change along time.  The last convolution of the network changes as well, along
    the image *height*: the released models have a causal convolution there, whose causal axis is that one.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        renamed = causal_name(name)
        if renamed != name and name.endswith(".weight"):
            tensor = causal_kernel(tensor, transfer, axis=2)
        elif renamed != name:
            tensor = tensor.float()
        result[renamed] = tensor
    return result
