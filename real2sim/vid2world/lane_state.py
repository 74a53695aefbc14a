"""Base class of world-model states: batches of lanes that can be selected and joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from real2sim.simulation.lane_lists import check_seeds
from real2sim.vid2world.network.frame_cache import FrameCache

State = TypeVar("State", bound="LaneState")


LARGEST_ACTION = 1e6


@dataclass(frozen=True)
class LaneState:
    """A batch of lanes: every field is a tensor with one row per lane, a tuple with one entry, a cache, or None."""

    seeds: tuple[int, ...]
    frames: tuple[int, ...]
    """Index of each lane's next frame; the start frame is 0."""

    def select(self: State, indices: Sequence[int]) -> State:
        """The state of some lanes only, in the given order."""
        places = np.asarray(indices, dtype=np.int64)

        def chosen(value: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, tuple):
                return tuple(value[place] for place in places)
            if isinstance(value, Tensor):
                return value[torch.as_tensor(places, device=value.device)]
            assert isinstance(value, FrameCache)
            return value.select(torch.as_tensor(places, device=value.tensors[0].device))

        return replace(self, **{field.name: chosen(getattr(self, field.name)) for field in fields(self)})

    def join(self: State, other: State) -> State | None:
        """The state of these lanes, then those of the other state; None if they cannot be one batch now."""

        def joined(first: Any, second: Any) -> Any:
            if first is None:
                return None
            if isinstance(first, tuple):
                return first + second
            return torch.cat([first, second]) if isinstance(first, Tensor) else first.join(second)

        both = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return replace(self, **{name: joined(*pair) for name, pair in both.items()})

    def check_finite(self, actions: np.ndarray) -> None:
        """Raises ValueError if a lane's action (b ...) is not finite, or larger than any unit makes it."""
        sound = np.isfinite(actions) & (np.abs(actions) <= LARGEST_ACTION)
        bad = np.flatnonzero(~sound.reshape(len(actions), -1).all(axis=1))
        if len(bad):
            raise ValueError(
                f"actions of lane {bad[0]} at frame {self.frames[bad[0]]} are not finite or beyond "
                f"{LARGEST_ACTION:g}; check the policy"
            )

    def check_drawn(self, sound: np.ndarray, model: str) -> None:
        """Raises ValueError unless what ``model`` drew after this state is finite (b bool): pixels would hide it."""
        if not sound.all():
            lane = int(np.flatnonzero(~sound)[0])
            raise ValueError(
                f"{model} drew a frame that is not finite, in lane {lane} at frame {self.frames[lane]}; its "
                "weights or its number format do not fit (float16 overflows: try bfloat16 or float32)"
            )


@dataclass(frozen=True)
class WorldState(LaneState):
    """What a world model remembers of its lanes; made by ``reset`` and ``step``, never changed."""

    cache: FrameCache | None
    """What the frames before the newest one left behind; None where frames are drawn from states."""
    newest: Tensor
    """Latent of the newest frame (b c 1 h w); it enters the cache in the pass that begins the next one."""
    newest_actions: Tensor
    """Scaled action that led to it (b 1 n); zeros for the start frame."""
    condition: Tensor
    """Latent of each lane's start frame (b c 1 h w)."""
    robot: Tensor | None = None
    """State of the robot at the newest frame (b numbers), in the dataset's units; None where the model has none."""
    motion: Tensor | None = None
    """What of it changed at the last command (b numbers); None where the model has no state."""
    known: tuple[np.ndarray, ...] | None = None
    """The robot's state as arrays, one (numbers) for each lane."""

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of this state, in the order of its fields."""
        return tuple(tensor for field in fields(self) for tensor in _tensors(getattr(self, field.name)))

    def holding(self, tensors: Sequence[Tensor]) -> WorldState:
        """A state of the same form with other tensors, as `tensors` gives them."""
        left = iter(tensors)
        found = {
            field.name: _refilled(getattr(self, field.name), left)
            for field in fields(self)
            if field.name not in ("seeds", "frames", "known")
        }
        return replace(self, **found)


def _tensors(value: Any) -> tuple[Tensor, ...]:
    if isinstance(value, FrameCache):
        return value.tensors if value.seen is None else (*value.tensors, value.seen)
    return (value,) if isinstance(value, Tensor) else ()


def _refilled(value: Any, left: Iterator[Tensor]) -> Any:
    if isinstance(value, FrameCache):
        tensors = tuple(next(left) for _ in value.tensors)
        return replace(value, tensors=tensors, seen=None if value.seen is None else next(left))
    return next(left) if isinstance(value, Tensor) else value


def finite(pictures: Tensor) -> Tensor:
    """Whether all numbers of each lane's picture (b ...) are finite (b)."""
    # The largest number is not finite if one is not; looking at each by itself costs fourteen times as much.
    return pictures.abs().amax(dim=tuple(range(1, pictures.ndim))).isfinite()


def check_start_frames(frames: Any, size: tuple[int, ...]) -> None:
    """ValueError unless ``frames`` is a whole array uint8 (b h w 3) of the size (h w 3), with at least one lane."""
    found = _described(frames)
    if found is not None or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != size:
        found = found or f"{frames.dtype} {frames.shape}"
        raise ValueError(f"start frames are {found}, expected uint8 (b, {', '.join(map(str, size))})")
    if not len(frames):
        raise ValueError("there are no start frames; a world model needs at least one lane")


def check_lane_seeds(seeds: Any, lanes: int) -> tuple[int, ...]:
    """The seeds; ValueError unless they are a whole number for each lane."""
    found = check_seeds(seeds)
    if len(found) != lanes:
        raise ValueError(f"{lanes} start frames came with {len(found)} seeds; each lane needs one")
    return tuple(found)


def check_action_array(actions: Any) -> None:
    """ValueError unless actions are a whole array of numbers."""
    found = _described(actions)
    if found is not None or actions.dtype.kind not in "fiu":
        raise ValueError(f"actions are {found or f'of type {actions.dtype}'}, expected an array of numbers")


def _described(value: Any) -> str | None:
    """What is given in the place of a whole array; None for one."""
    if isinstance(value, np.ma.MaskedArray):
        return "masked"
    return None if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"
