"""Predicts a robot's next state from its state and the action, one step at a time or many in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from real2sim.vid2world.state_config import StateConfig


def start_states(
    config: StateConfig | None, states: np.ndarray | None, lanes: int, device: torch.device
) -> Tensor | None:
    """The states at the start frames of ``lanes`` lanes as a tensor (lanes numbers), None for a model without states.

    Raises ValueError if they are missing, too many, of another shape or not finite.
    """
    if config is None:
        if states is not None:
            raise ValueError("this world model knows no robot state; leave states out")
        return None
    expected = (lanes, len(config.names))
    if states is None or states.shape != expected:
        found = "none" if states is None else f"an array {states.shape}"
        raise ValueError(
            f"this world model needs the robot's state at each start frame, {expected}, and was given {found}; "
            "does the suite's start_frames.npz hold them?"
        )
    if not np.isfinite(states).all():
        raise ValueError("a start state is not finite; record the start frames again")
    return torch.from_numpy(np.ascontiguousarray(states, np.float32)).to(device)


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(self.norm(x))


class StatePrediction(nn.Module):
    """What every prediction of states has: sizes of the numbers and of their changes, and many steps in a row.

    ``forward(state, actions, motion)`` gives the next state and what changed.
    """

    mean: Tensor
    spread: Tensor
    change: Tensor
    action_scale: Tensor

    def __init__(self, config: StateConfig, action_scale: tuple[float, ...]) -> None:
        super().__init__()
        self.config = config
        # In double precision, so that models stored as float16 keep them whole.
        for name, value in (("mean", 0.0), ("spread", 1.0), ("change", 1.0)):
            self.register_buffer(name, torch.full((len(config.names),), value, dtype=torch.float64))
        self.register_buffer("action_scale", torch.tensor(action_scale), persistent=False)

    @torch.no_grad()
    def fit(self, frames: Sequence[Tensor], steps: Sequence[Tensor] | None = None) -> Tensor:
        """Take sizes of numbers from recorded states at frames, one tensor (t numbers) per episode, and those of their
        changes from states that are one step of the network apart (None: the same); gives these changes (n numbers)."""
        flat = torch.cat([states.double() for states in frames])
        changes = torch.cat([states.double().diff(dim=0) for states in steps or frames])
        self.mean.copy_(flat.mean(0))
        self.spread.copy_(flat.std(0).clamp(min=1e-4))
        self.change.copy_(changes.std(0))
        self.change[changes.abs().amax(0) == 0] = 0
        return changes

    def rollout(self, state: Tensor, actions: Tensor) -> Tensor:
        """States (b t numbers) after each of ``actions`` (b t actions), each predicted from the one before, from a
        robot at rest."""
        states, motion = [], None
        for step in range(actions.shape[1]):
            state, motion = self(state, actions[:, step], motion)
            states.append(state)
        return torch.stack(states, dim=1)

    def standardised(self, state: Tensor) -> Tensor:
        """The state (... numbers) with mean 0 and deviation 1 over the data."""
        return (state - self.mean.float()) / self.spread.float()


class StateHead(StatePrediction):
    """A residual network on standardised numbers; what is commanded is computed exactly.

    It predicts changes in units of their usual size, so a number that never changes in the data stays for ever.
    """

    change_mean: Tensor
    _command: Tensor
    _measured: Tensor
    _action: Tensor
    _low: Tensor
    _high: Tensor
    _lead: Tensor

    def __init__(self, config: StateConfig, action_scale: tuple[float, ...]) -> None:
        super().__init__(config, action_scale)
        numbers = len(config.names)
        self.register_buffer("change_mean", torch.zeros(numbers, dtype=torch.float64))
        commands = config.commands
        places = {
            "command": [config.index(command.name) for command in commands],
            "measured": [config.index(command.measured) for command in commands],
            "action": [command.action for command in commands],
        }
        for name, indices in places.items():
            self.register_buffer(f"_{name}", torch.tensor(indices, dtype=torch.long), persistent=False)
        for name in ("low", "high", "lead"):
            values = torch.tensor([getattr(command, name) for command in commands])
            self.register_buffer(f"_{name}", values, persistent=False)
        inputs = (numbers + len(commands)) * (1 + 2 * config.frequencies) + len(action_scale) + len(commands)
        self.entry = nn.Linear(inputs, config.width)
        self.blocks = nn.Sequential(*[ResidualBlock(config.width) for _ in range(config.layers)])
        self.exit = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, numbers))

    @torch.no_grad()
    def fit(self, frames: Sequence[Tensor], steps: Sequence[Tensor] | None = None) -> Tensor:
        """The same, and the mean change."""
        changes = super().fit(frames, steps)
        self.change_mean.copy_(changes.mean(0))
        self.change_mean[changes.abs().amax(0) == 0] = 0
        return changes

    def forward(self, state: Tensor, actions: Tensor, motion: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next state (b numbers) after ``actions`` (b actions), both in the dataset's units, and what changed.

        ``motion``, the change before, is not used; :class:`~real2sim.vid2world.command_head.CommandHead` does.
        """
        following = self._after(state, actions)
        return following, following - state

    def _after(self, state: Tensor, actions: Tensor) -> Tensor:
        target = state[:, self._command] + actions[:, self._action]
        target = torch.minimum(torch.maximum(target, self._low), self._high)
        change = self._change(state, actions, target)
        following = state + self.change.float() * change + self.change_mean.float()
        if len(self._command):
            measured = following[:, self._measured]
            target = torch.minimum(torch.maximum(target, measured - self._lead), measured + self._lead)
            following = following.index_copy(1, self._command, target)
        return following

    def _change(self, state: Tensor, actions: Tensor, target: Tensor) -> Tensor:
        ahead = (target - state[:, self._measured]) / self._lead
        aimed = (target - self.mean[self._measured].float()) / self.spread[self._measured].float()
        numbers = torch.cat([self.standardised(state), aimed], dim=1)
        waves = [numbers]
        for power in range(self.config.frequencies):
            angle = numbers * (math.pi / 4 * 2**power)
            waves += [angle.sin(), angle.cos()]
        x = self.entry(torch.cat([*waves, actions * self.action_scale, ahead], dim=1))
        change: Tensor = self.exit(self.blocks(x))
        return change
