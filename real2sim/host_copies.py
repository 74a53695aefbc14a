"""Copies between the processor's memory and a device's that do not hold the processor up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray | Tensor, device: torch.device | str) -> Tensor:
    """Values as a tensor on ``device``.

    To a GPU they go through pinned memory and the call returns at once: what is computed on the GPU afterwards finds
    them there.  An ordinary copy waits until everything asked of the GPU before is done.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
    if torch.device(device).type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Tensors of one device as arrays, by one copy: each copy waits for everything asked of a GPU before."""
    if tensors[0].device.type == "cpu":
        return tuple(tensor.numpy() for tensor in tensors)
    packed = torch.cat([tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors])
    if packed.is_cuda:
        host = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
        host.copy_(packed, non_blocking=True)
        torch.cuda.current_stream(packed.device).synchronize()
    else:
        host = packed.cpu()
    found, begin, every = [], 0, host.numpy()
    for tensor in tensors:
        end = begin + tensor.numel() * tensor.element_size()
        kind = torch.empty(0, dtype=tensor.dtype).numpy().dtype
        # A copy: the numbers then begin at a multiple of their size, and pinned memory is free for the next call.
        found.append(every[begin:end].copy().view(kind).reshape(tensor.shape))
        begin = end
    return tuple(found)
