"""CUDA graphs: what a network does for a batch of one size is recorded once and started as a whole from then on.

A small network does hundreds of short operations, and a GPU is done with each sooner than the processor has asked for
the next.  On the processor, and for sizes met once, functions are called as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOG = logging.getLogger(__name__)
SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Lanes of a recorded batch; smaller batches leave its last rows unused. Larger ones are not recorded."""

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class _Recorded:
    """A recorded call, with the memory that it reads and writes."""

    graph: Any
    given: tuple[Tensor, ...]
    found: tuple[Tensor, ...]
    unchanged: tuple[int | None, ...]
    """For each result the number of the argument that it is, if it is one."""

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        lanes = len(given[0])
        for place, tensor in zip(self.given, given, strict=True):
            place[:lanes].copy_(tensor)
        self.graph.replay()
        # The next replay writes to the same memory.
        return tuple(
            found[:lanes].clone() if number is None else given[number]
            for found, number in zip(self.found, self.unchanged, strict=True)
        )


class RecordedCalls:
    """``function`` of tensors (lanes ...) on a GPU, recorded for each size of batch that is met twice.

    It must give tensors (lanes ...) whose rows depend on the same rows of its arguments, and must not wait for the GPU.
    Weights may change their values, not their places: make a new object when they move.  Rows differ in their last bits
    between sizes, as they do without graphs.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._recorded: dict[object, _Recorded] = {}
        self._met: set[object] = set()
        self._pool: Any = None
        self.enabled = True

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        lanes = len(given[0])
        size = next((size for size in SIZES if size >= lanes), None)
        if not self.enabled or size is None or not given[0].is_cuda:
            return self._function(*given)
        key = (size, *((tensor.shape[1:], tensor.dtype) for tensor in given))
        if key not in self._recorded:
            if key not in self._met:
                # Whatever is set up by a first call must not be part of the record.
                self._met.add(key)
                return self._function(*given)
            try:
                with torch.cuda.device(given[0].device):
                    self._recorded[key] = self._record(given, size)
            except RuntimeError as error:
                LOG.warning("a pass cannot be recorded as a CUDA graph (%s); it runs without, slower", error)
                self.enabled = False
                return self._function(*given)
        return self._recorded[key](*given)

    def _record(self, given: tuple[Tensor, ...], size: int) -> _Recorded:
        places = tuple(tensor.new_zeros(size, *tensor.shape[1:]) for tensor in given)
        for place, tensor in zip(places, given, strict=True):
            place[: len(tensor)].copy_(tensor)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._function(*places)
        torch.cuda.current_stream().wait_stream(stream)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Other threads may copy and judge meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            found = self._function(*places)
        unchanged = tuple(
            next((i for i, place in enumerate(places) if result is place), None) for result in found
        )
        return _Recorded(graph, places, found, unchanged)
