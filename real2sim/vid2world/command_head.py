"""Predicts the state of robot and objects command by command: first the robot's joints, then what they decide, then
what the robot does to objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from real2sim.vid2world.state_config import YAW, StateConfig
from real2sim.vid2world.state_head import ResidualBlock, StateHead, StatePrediction

FASTEST = 12.0
"""Largest change of an object at one command, in usual changes."""
STILL = 0.3
"""Changes of an object that are smaller than this, in usual changes, hardly count."""
LARGEST_TURN = 20.0
"""Degrees at one command beyond which a change of an object's yaw is no turn: the object has tipped over."""
WAVES = 192
"""Sines of learned sums of numbers: contact is decided by small differences of places."""


def state_head(config: StateConfig, action_scale: tuple[float, ...]) -> StatePrediction:
    """The network that a configuration asks for; ``action_scale`` is that of a whole frame's action."""
    kind = CommandHead if config.commands_per_frame > 1 else StateHead
    return kind(config, action_scale)


def _axis(name: str) -> str:
    """x, y or z of a number that is a place's, such as ``block.x``; nothing for others."""
    head, _, last = name.rpartition(".")
    return last if head and last in ("x", "y", "z") else ""


def _turned_places(config: StateConfig) -> list[tuple[int, ...]]:
    """For each object with x, y and yaw and each derived place with x and y: where these five numbers lie, the last two
    among the derived ones."""
    moved = [name for name in config.names if name not in config.derived]
    objects = [name.removesuffix(YAW) for name in moved if name.endswith(YAW)]
    places = [name.removesuffix(".x") for name in config.derived if name.endswith(".x")]
    return [
        (
            *(config.index(f"{thing}.{end}") for end in ("x", "y", "yaw")),
            *(config.derived.index(f"{place}.{end}") for end in "xy"),
        )
        for thing in objects
        for place in places
        if {f"{thing}.x", f"{thing}.y"} <= set(moved) and f"{place}.y" in config.derived
    ]


def _stilled(changes: Tensor) -> Tensor:
    """Changes in usual changes, at most ``FASTEST``; below ``STILL`` a tenth of them, so that what nothing touches
    stays where it is."""
    beyond = changes - changes.clamp(-STILL, STILL)
    changes = beyond + 0.1 * (changes - beyond)
    return FASTEST * (changes / FASTEST).tanh()


class _Net(nn.Module):
    """A residual network on numbers and on sines of learned sums of them; it begins by answering zero."""

    def __init__(self, inputs: int, outputs: int, config: StateConfig, layers: int) -> None:
        super().__init__()
        self.waves = nn.Linear(inputs, WAVES)
        self.entry = nn.Linear(inputs + WAVES, config.width)
        self.blocks = nn.Sequential(*[ResidualBlock(config.width) for _ in range(layers)])
        self.norm = nn.LayerNorm(config.width)
        self.exit = nn.Linear(config.width, outputs)
        nn.init.normal_(self.waves.weight, std=0.5)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, x: Tensor) -> Tensor:
        known = torch.cat([x, self.waves(x).sin()], dim=1)
        answer: Tensor = self.exit(self.norm(self.blocks(self.entry(known))))
        return answer


class CommandHead(StatePrediction):
    """Three small networks in a row, once for every command between two frames."""

    _servo: Tensor
    _target: Tensor
    _derived: Tensor
    _moved: Tensor
    _near: Tensor
    _place: Tensor
    _turned: Tensor

    def __init__(self, config: StateConfig, action_scale: tuple[float, ...]) -> None:
        numbers, count = len(config.names), config.commands_per_frame
        config.check_actions(len(action_scale))
        action_scale = action_scale[: len(action_scale) // count]
        super().__init__(config, action_scale)
        servo = [config.index(target.name) for target in config.targets]
        derived = [config.index(name) for name in config.derived]
        moved = [i for i in range(numbers) if i not in servo + derived]
        # Distances of objects from the places that joints decide, axis by axis: contact is a matter of millimetres.
        pairs = [
            (i, place)
            for i in moved
            for place, name in enumerate(config.derived)
            if _axis(config.names[i]) and _axis(config.names[i]) == _axis(name)
        ]
        for name, places in (
            ("servo", servo),
            ("target", [target.action for target in config.targets]),
            ("derived", derived),
            ("moved", moved),
            ("near", [i for i, _ in pairs]),
            ("place", [place for _, place in pairs]),
        ):
            self.register_buffer(f"_{name}", torch.tensor(places, dtype=torch.long), persistent=False)
        turned = _turned_places(config) if config.object_frames else []
        self.register_buffer(
            "_turned", torch.tensor(turned, dtype=torch.long).reshape(-1, 5), persistent=False
        )
        apart = len(pairs) + 2 * len(turned)
        known = 2 * numbers + len(action_scale) + len(servo) + apart
        self.servo = _Net(known, 2 * len(servo), config, 2)
        self.place = _Net(len(servo), len(derived), config, 2)
        known += len(servo) + len(derived) + apart
        self.objects = _Net(known, len(moved), config, config.layers)

    def fit(self, frames: Sequence[Tensor], steps: Sequence[Tensor] | None = None) -> Tensor:
        """The same; few objects that tip over do not make the usual turn of all of them large."""
        changes = super().fit(frames, steps)
        for i, name in enumerate(self.config.names):
            turns = changes[changes[:, i].abs() <= LARGEST_TURN, i]
            if name.endswith(YAW) and name not in self.config.derived and turns.any():
                self.change[i] = turns.std()
        return changes

    def forward(self, state: Tensor, actions: Tensor, motion: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state (b numbers) after ``actions`` (b actions), both in the dataset's units, and its motion, what
        changed at the last command.

        ``actions`` hold one command or several in a row; without ``motion`` the robot is at rest.
        """
        motion = torch.zeros_like(state) if motion is None else motion
        for command in actions.split(len(self.action_scale), dim=1):
            following = self._after(state, command, motion)
            state, motion = following, following - state
        return state, motion

    def _after(self, state: Tensor, command: Tensor, motion: Tensor) -> Tensor:
        change = self.change.float()
        unit = change.clamp(min=1e-6)
        way = command.index_select(1, self._target) - state.index_select(1, self._servo)
        # Far targets differ little from each other: a servo's speed is limited.
        ahead = torch.asinh(way / unit[self._servo])
        apart = self._apart(state, state.index_select(1, self._derived), unit)
        known = torch.cat(
            [self.standardised(state), motion / unit, ahead, command * self.action_scale, apart], dim=1
        )
        # Some share of the way, and some of the motion goes on: joints can neither drift nor swing up.
        share, kept = self.servo(known).sigmoid().chunk(2, dim=1)
        turned = share * way + 0.8 * kept * motion.index_select(1, self._servo)
        following = state.index_add(1, self._servo, turned)
        turned = turned / unit[self._servo]
        places = self.place(self.standardised(following).index_select(1, self._servo))
        places = places * self.spread[self._derived].float() + self.mean[self._derived].float()
        shift = (places - state.index_select(1, self._derived)) / unit[self._derived]
        moved = self.objects(torch.cat([known, turned, shift, self._apart(state, places, unit)], dim=1))
        following = following.index_copy(1, self._derived, places)
        return following.index_add(1, self._moved, _stilled(moved) * change[self._moved])

    def _apart(self, state: Tensor, places: Tensor, unit: Tensor) -> Tensor:
        """How far objects are from derived places (b pairs), in usual changes of the place, compressed where far."""
        scale = unit[self._derived[self._place]]
        apart = torch.asinh((state.index_select(1, self._near) - places.index_select(1, self._place)) / scale)
        if not len(self._turned):
            return apart
        x, y, yaw, place_x, place_y = self._turned.unbind(1)
        away_x = places.index_select(1, place_x) - state.index_select(1, x)
        away_y = places.index_select(1, place_y) - state.index_select(1, y)
        turn = torch.deg2rad(state.index_select(1, yaw))
        cosine, sine = turn.cos(), turn.sin()
        along, across = cosine * away_x + sine * away_y, cosine * away_y - sine * away_x
        # One scale for both directions, so that the angle stays.
        scale = unit[self._derived[place_x]]
        return torch.cat([apart, torch.asinh(along / scale), torch.asinh(across / scale)], dim=1)
