"""From a configuration and stored tensors to a module: no memory that the tensors do not account for, nothing drawn.

A configuration can ask for any size; the tensors beside it say how large the model is.  A trial on torch's device
``meta`` would tell as well, but imports its compiler, seconds for every worker process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from real2sim.model_folder import load_tensors

Module = TypeVar("Module", bound=nn.Module)

ALLOCATING = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)
SPARE = 10_000_000
"""Numbers beyond the stored ones that a module may ask for: buffers that are computed, not stored."""


def build_module(make: Callable[[], Module], tensors: Mapping[str, Tensor], where: str) -> Module:
    """The module that ``make`` gives, with ``tensors`` (name -> tensor) for weights.

    The caller's random numbers stay as they are.  Raises ValueError, naming ``where``, if names or shapes disagree, or
    if the configuration asks for much more than is stored.
    """
    stored = sum(tensor.numel() for tensor in tensors.values())
    try:
        with torch.random.fork_rng(devices=[]), _Budget(2 * stored + SPARE):
            module = make()
    except _TooLargeError as error:
        raise ValueError(
            f"{where} holds {stored:,} numbers, its configuration asks for {error}; was it written for another "
            "configuration?"
        ) from None
    load_tensors(module, tensors, where)
    return module


class _TooLargeError(Exception):
    """More was asked for than the stored tensors account for."""


class _Budget(TorchFunctionMode):
    """Counts the numbers that are asked for, and leaves initial weights as they lie in memory."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.asked = most, 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if func in ALLOCATING:
            self.asked += _count(args, kwargs)
            if self.asked > self.most:
                raise _TooLargeError(f"{self.asked:,} or more")
        return func(*args, **kwargs)


def _count(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Numbers in a tensor of the size that an allocating function of torch is given."""
    size = kwargs.get("size", args[0] if args and isinstance(args[0], Sequence) else args)
    return math.prod(int(length) for length in size if isinstance(length, int))
