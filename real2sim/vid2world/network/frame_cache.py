"""Cached features of past frames, so that a new frame needs only a pass over itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameCache:
    """Features of the last frames of each lane, one tensor (lanes frames ...) per layer that looks back.

    A temporal convolution keeps what the past adds to the next two frames, a temporal attention layer the keys and
    values of the last ``window - 1`` frames, a norm over the window the moments of these frames.

    A cache that begins without tensors grows with the frames until the window is full, in all lanes alike. One that
    begins blank (:meth:`CausalUNet.blank_cache`) has room for the whole window from the start, counts the frames of
    each lane, and hides the places that are still empty: its shapes never change, and its lanes may differ in age.
    """

    tensors: tuple[Tensor, ...] = ()
    """In the order in which the layers run; empty before the first frame."""
    seen: Tensor | None = None
    """Frames that each lane has seen so far (lanes,), int64; None if there are as many as the tensors hold."""
    branches: int = 1
    """Consecutive copies of the batch that read the same history."""

    @property
    def lanes(self) -> int | None:
        """Rows of each tensor; None before the first frame."""
        return self.tensors[0].shape[0] if self.tensors else None

    def select(self, indices: Tensor) -> FrameCache:
        """The cache of the lanes ``indices`` (an int64 vector), in that order; a lane may appear twice."""
        tensors = tuple(tensor.index_select(0, indices) for tensor in self.tensors)
        return replace(self, tensors=tensors, seen=None if self.seen is None else self.seen[indices])

    def join(self, other: FrameCache) -> FrameCache:
        """The lanes of this cache, then those of the other; both began blank."""
        if self.seen is None or other.seen is None:
            raise ValueError("only caches that began blank can be joined: others hold frames of one age")
        tensors = tuple(torch.cat(pair) for pair in zip(self.tensors, other.tensors, strict=True))
        return replace(self, tensors=tensors, seen=torch.cat([self.seen, other.seen]))

    def repeat(self, branches: int) -> FrameCache:
        """The same history for a batch that repeats all lanes ``branches`` times.

        Nothing is copied. Meant for guidance, where the branches differ in their conditions only.
        """
        return replace(self, branches=self.branches * branches)


class Timeline:
    """The frames of one forward pass, joined to what a cache holds of the frames before them.

    ``remember`` is how many of the frames, from the first, enter the new cache (all unless said otherwise).
    Layers that look back call :meth:`join`, or :meth:`recall` and then :meth:`keep`, once per pass, always in the
    same order; the timeline hands each its own part of the cache and remembers what the next pass will need.
    """

    def __init__(
        self, frames: int, window: int, cache: FrameCache | None = None, remember: int | None = None
    ) -> None:
        self.frames = frames
        """Frames of this pass in each lane."""
        self.window = window
        self.cached = cache is not None
        """Whether earlier frames are known from a cache only, even if there are none yet."""
        self._cache = cache if cache is not None else FrameCache()
        self.remembered = frames if remember is None else remember
        """How many of these frames, from the first, the next pass will know."""
        self._kept: list[Tensor] = []
        self._masks: dict[int, Tensor] = {}

    def join(self, present: Tensor, keep: int) -> Tensor:
        """``present`` (b t ...) behind the cached frames of the calling layer (b past+t ...).

        Of those to be remembered the last ``keep`` are kept for the next pass.
        """
        if not self.cached:
            return present
        past = self.recall()
        joined = present if past is None else torch.cat([past.to(present.dtype), present], dim=1)
        if past is not None and not self.remembered:
            self.keep(past)
        else:
            end = joined.shape[1] - self.frames + self.remembered
            # A copy: a part of ``joined`` would keep all of it alive, and its strides would change with the pass.
            self.keep(joined[:, max(0, end - keep) : end].clone(memory_format=torch.contiguous_format))
        return joined

    def recall(self) -> Tensor | None:
        """What the calling layer kept in the previous pass, for each row of this pass; None in the first."""
        if not self._cache.tensors:
            return None
        past, branches = self._cache.tensors[len(self._kept)], self._cache.branches
        return past if branches == 1 else past.expand(branches, *past.shape).flatten(0, 1)

    def keep(self, tensor: Tensor) -> None:
        """Hand ``tensor`` (b frames ...) to the calling layer in the next pass."""
        self._kept.append(tensor)

    def mask(self, keys: int, device: torch.device) -> Tensor | None:
        """Which of the last ``keys`` frames each frame of this pass may attend to, bool (t keys), or (b 1 t keys) if
        that differs between lanes; None if all.

        Frame i sees itself and up to ``window - 1`` frames before it.
        """
        past = keys - self.frames
        if self._cache.seen is None and self.frames == 1 and keys <= self.window:
            return None
        if keys not in self._masks:
            query = torch.arange(past, keys, device=device)[:, None]
            key = torch.arange(keys, device=device)[None]
            visible = (key <= query) & (key > query - self.window)
            if self._cache.seen is not None:
                seen = self._cache.seen.repeat(self._cache.branches)
                visible = visible & (key >= past - seen[:, None, None, None])
            self._masks[keys] = visible
        return self._masks[keys]

    def cache(self) -> FrameCache:
        """The cache after this pass; valid once all layers have run."""
        seen = self._cache.seen
        return FrameCache(tuple(self._kept), None if seen is None else seen + self.remembered)
