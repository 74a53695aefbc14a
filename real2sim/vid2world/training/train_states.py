"""Training of the network that predicts a robot's next state: on single steps, then on several in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.episodes.keep_out import for_training
from real2sim.episodes.learned_files import learned_files
from real2sim.episodes.npz import dataset_files, dataset_robot, read_npz
from real2sim.episodes.states import episode_states, has_states_between
from real2sim.host_copies import to_device
from real2sim.robot import Robot
from real2sim.training.loop import run_training, trained_weights
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.command_head import state_head
from real2sim.vid2world.state_config import YAW, StateConfig
from real2sim.vid2world.state_head import StatePrediction
from real2sim.vid2world.training.pretrained import Pretrained

STATES_FOLDER = "states"
"""Folder of this training inside that of the world model's."""


@dataclass(frozen=True)
class StateTrainingConfig:
    """How the prediction of states is taught."""

    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(
            steps=12_000, learning_rate=1.5e-3, decay_from=0.3, checkpoint_every=500
        )
    )
    batch: int = 512
    """Predicted states per optimiser step, whether single or in a row."""
    single: float = 0.4
    """Share of the training, at its beginning, on single steps from recorded states."""
    unroll: int = 10
    """Steps in a row after that, each from the state predicted before; a step is a frame, or a command where the model
    follows commands one by one."""
    important: tuple[str, ...] = ()
    """State numbers whose error counts four times."""
    data: tuple[Path, ...] = ()
    """Further dataset folders; their episodes need no images."""


@dataclass(frozen=True)
class Transitions:
    """One episode as the prediction of states sees it."""

    states: Tensor
    """At each frame (t numbers)."""
    actions: Tensor
    """What the world model is given for the actions that lead from each frame to the next (t actions)."""

    def __len__(self) -> int:
        return len(self.states)


def read_transitions(folders: Sequence[Path], names: tuple[str, ...]) -> list[Transitions]:
    """The episodes of dataset folders, with their states in the order of ``names``; starts of suites are left out."""
    episodes = []
    for folder in folders:
        robot = dataset_robot(folder)
        for file in for_training(dataset_files(folder)):
            recorded = read_npz(file, ("action",))["action"].astype(np.float32)
            actions = robot.world_actions(robot.per_frame(recorded))
            episodes.append(
                Transitions(torch.from_numpy(episode_states(file, names)), torch.from_numpy(actions))
            )
    return episodes


def read_between(folders: Sequence[Path], names: tuple[str, ...]) -> list[Transitions]:
    """The same episodes once more for every command between two frames, where the states there were kept: as if the
    first frame had been taken one command later, two commands later, and so on, as far as two frames remain."""
    episodes = []
    for folder in folders:
        robot = dataset_robot(folder)
        for file in for_training(dataset_files(folder)):
            if not has_states_between(file):
                continue
            every, acted = _at_commands(file, robot, names)
            count = robot.actions_per_frame
            for phase in range(1, count):
                frames = every[phase::count]
                if len(frames) < 2:
                    break
                # As in recorded episodes the last row of actions leads nowhere.
                given = acted[phase : phase + len(frames) * count].reshape(
                    len(frames), count, acted.shape[-1]
                )
                episodes.append(
                    Transitions(torch.from_numpy(frames), torch.from_numpy(robot.world_actions(given)))
                )
    return episodes


def read_commands(folders: Sequence[Path], names: tuple[str, ...], count: int) -> list[Transitions]:
    """The episodes of dataset folders with a row for each of the ``count`` commands of a frame.

    Raises ValueError for a robot with another number of commands, or whose world model is given their sum, and for an
    episode that does not hold the states between its frames.
    """
    episodes = []
    for folder in folders:
        robot = dataset_robot(folder)
        if robot.actions_per_frame != count or robot.world_action != "stack":
            raise ValueError(
                f"{folder}: state.commands_per_frame is {count}, and its robot has {robot.actions_per_frame} commands "
                f"per frame, world_action {robot.world_action!r}; expected the same number and 'stack'"
            )
        for file in for_training(dataset_files(folder)):
            if not has_states_between(file):
                raise ValueError(
                    f"{file}: there are no states between its frames, which a prediction for each command learns from; "
                    "convert the dataset again or set --model.state.commands-per-frame to 1"
                )
            states, commands = _at_commands(file, robot, names)
            for i, name in enumerate(names):
                if name.endswith(YAW):
                    # From 179 to -179 degrees it is a turn of 2.
                    states[:, i] = np.unwrap(states[:, i], period=360.0)
            actions = commands[: len(states)]
            episodes.append(Transitions(torch.from_numpy(states), torch.from_numpy(actions)))
    return episodes


def _at_commands(file: Path, robot: Robot, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """States (t m) at each command of an episode, as far as they are known, and all of its commands (t' n)."""
    commands = robot.per_frame(read_npz(file, ("action",))["action"].astype(np.float32))
    states = episode_states(file, names, between=True)
    # The last frame leads nowhere: nothing is known of what follows its first command.
    known = (len(states) - 1) * commands.shape[1] + 1
    return states.reshape(-1, states.shape[-1])[:known], commands.reshape(-1, commands.shape[-1])


class StateTraining:
    """The prediction of states as a task of the training loop."""

    fixed_settings = ("model", "pretrained")
    extra_modules: Mapping[str, nn.Module] = {}

    def __init__(
        self,
        config: StateTrainingConfig,
        state: StateConfig,
        action_scale: tuple[float, ...],
        data: Path,
        start: Pretrained | None = None,
    ) -> None:
        self.config, self.state = config, state
        self.pretrained = None if start is None else start.folder
        self.folders = (data, *config.data)
        recorded = read_transitions([data], state.names)
        if state.commands_per_frame > 1:
            found = read_commands([data, *config.data], state.names, state.commands_per_frame)
        else:
            others = read_transitions(config.data, state.names)
            found = [*recorded, *others, *read_between([data, *config.data], state.names)]
        episodes = [episode for episode in found if len(episode) > 1]
        if not episodes:
            raise ValueError(f"{data}: no episode has two frames, so no change of the state can be learned")
        self.lengths = np.array([len(episode) for episode in episodes])
        # One after the other, so that a batch is one look-up, and on a GPU no copy.
        self.states = torch.cat([episode.states for episode in episodes])
        self.actions = torch.cat([episode.actions for episode in episodes])
        self.first = np.cumsum(self.lengths) - self.lengths
        counts = np.array([len(episode.actions) for episode in episodes])
        self.first_action = np.cumsum(counts) - counts
        torch.manual_seed(config.optimisation.seed)
        head = state_head(state, action_scale)
        known = None if start is None else start.model.state_head
        # The sizes of numbers come from the episodes with images: the network that draws is told them so.
        steps = [episode.states for episode in (found if state.commands_per_frame > 1 else recorded)]
        if known is None:
            head.fit([episode.states for episode in recorded], steps)
        else:
            head.load_state_dict(known.state_dict())
        self.model = self.trained = head
        emphasis = torch.tensor([4.0 if name in config.important else 1.0 for name in state.names])
        self.weight = emphasis / emphasis.mean()

    def settings(self) -> Mapping[str, Any]:
        return {"model": self.state, "pretrained": self.pretrained, "training": self.config}

    def learned_files(self) -> list[Path]:
        return learned_files(self.folders)

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        optimisation = self.config.optimisation
        steps = min(self._in_a_row(step / optimisation.steps), int(self.lengths.max()) - 1)
        lanes = max(1, self.config.batch // steps)
        enough = np.flatnonzero(self.lengths > steps)
        chosen = enough[rng.integers(len(enough), size=lanes)]
        begins = rng.integers(self.lengths[chosen] - steps)
        # Errors count in units of the usual change; what never changes is always right.
        unit = self.model.change.float().clamp(min=1e-6)
        self.states, self.actions, self.weight = (
            to_device(values, unit.device) for values in (self.states, self.actions, self.weight)
        )
        at = self.first[chosen] + begins
        states = _rows(self.states, at, steps + 1)
        actions = _rows(self.actions, self.first_action[chosen] + begins, steps)
        before = _rows(self.states, at - (begins > 0), 1)[:, 0]
        state, motion = states[:, 0], states[:, 0] - before
        losses = []
        for ahead in range(steps):
            state, motion = network(state, actions[:, ahead], motion)
            error = (state - states[:, ahead + 1]) / unit
            # Beyond a tenth of a usual change errors count as they are: at contact one of two things happens, and
            # the more likely one is wanted, not their mean.
            each = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none")
            losses.append((each * self.weight).mean())
        return {"loss": torch.stack(losses).mean()}

    def _in_a_row(self, done: float) -> int:
        """Steps that are predicted in a row when a share of the training is done."""
        config = self.config
        if done < config.single:
            return 1
        if self.state.commands_per_frame == 1:
            return config.unroll
        # Longer and longer: errors of many steps in a row would drown what is to be learned.
        grown = min(1.0, 2 * (done - config.single) / (1 - config.single))
        return max(2, round(config.unroll**grown))


def _rows(values: Tensor, first: np.ndarray, count: int) -> Tensor:
    """``count`` rows of ``values`` (rows numbers) from each of ``first`` (b,) on (b count numbers)."""
    places = to_device(torch.from_numpy(first[:, None] + np.arange(count)), values.device)
    return values.index_select(0, places.flatten()).unflatten(0, places.shape)


def taught_states(training: StateTraining, out: Path, minutes: float) -> dict[str, Tensor] | None:
    """Weights of the network after its training in ``out``; None if ``minutes`` were over before its end."""
    if not run_training(training, training.config.optimisation, out, minutes):
        return None
    return trained_weights(out)[0]


@torch.inference_mode()
def state_errors(head: StatePrediction, states: Tensor, actions: Tensor) -> Tensor:
    """Absolute errors (episodes t numbers) of states that are predicted in a row from the first of an episode."""
    return (head.rollout(states[:, 0], actions[:, :-1]) - states[:, 1:]).abs()
