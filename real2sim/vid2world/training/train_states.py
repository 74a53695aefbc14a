"""Training of the network that predicts a robot's next state: on single steps, then on steps in a row."""

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
from real2sim.episodes.npz import dataset_files, dataset_robot, read_dataset
from real2sim.episodes.states import read_states
from real2sim.training.loop import run_training, trained_weights
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.state_config import StateConfig
from real2sim.vid2world.state_head import StateHead

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
    """Steps in a row after that, each from the state predicted before."""
    important: tuple[str, ...] = ()
    """State numbers whose error counts four times."""
    data: tuple[Path, ...] = ()
    """Further dataset folders; their episodes need no images."""


def read_transitions(folders: Sequence[Path], names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """States (episodes t numbers), in the order of ``names``, and what the world model is given of the actions
    (episodes t actions), of dataset folders; starts of suites are left out."""
    states = [read_states(for_training(dataset_files(folder)), names) for folder in folders]
    actions = []
    for folder in folders:
        robot = dataset_robot(folder)
        recorded = read_dataset(folder, ("action",))["action"].astype(np.float32)
        actions.append(robot.world_actions(robot.per_frame(recorded)))
    return torch.from_numpy(np.concatenate(states)), torch.from_numpy(np.concatenate(actions))


class StateTraining:
    """The prediction of states as a task of the training loop."""

    fixed_settings = ("model",)
    extra_modules: Mapping[str, nn.Module] = {}

    def __init__(
        self,
        config: StateTrainingConfig,
        state: StateConfig,
        action_scale: tuple[float, ...],
        data: Path,
    ) -> None:
        self.config, self.state = config, state
        self.states, self.actions = read_transitions([data, *config.data], state.names)
        torch.manual_seed(config.optimisation.seed)
        head = StateHead(state, action_scale)
        # The sizes of numbers come from the episodes with images: the network that draws is told them so.
        head.fit(read_transitions([data], state.names)[0])
        self.model = self.trained = head
        # Errors count in units of the usual change; what never changes is always right.
        self.unit = head.change.float().clamp(min=1e-6)
        emphasis = torch.tensor([4.0 if name in config.important else 1.0 for name in state.names])
        self.weight = emphasis / emphasis.mean()

    def settings(self) -> Mapping[str, Any]:
        return {"model": self.state, "training": self.config}

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        optimisation = self.config.optimisation
        steps = 1 if step < self.config.single * optimisation.steps else self.config.unroll
        steps = min(steps, self.states.shape[1] - 1)
        lanes = max(1, self.config.batch // steps)
        episodes = torch.from_numpy(rng.integers(len(self.states), size=lanes))
        begins = torch.from_numpy(rng.integers(self.states.shape[1] - steps, size=lanes))
        state = self.states[episodes, begins]
        losses = []
        for ahead in range(steps):
            state = network(state, self.actions[episodes, begins + ahead])
            error = (state - self.states[episodes, begins + ahead + 1]) / self.unit
            # Beyond a tenth of a usual change errors count as they are: at contact one of two things happens, and
            # the more likely one is wanted, not their mean.
            losses.append(
                (
                    F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none") * self.weight
                ).mean()
            )
        return {"loss": torch.stack(losses).mean()}


def taught_states(
    config: StateTrainingConfig,
    state: StateConfig,
    action_scale: tuple[float, ...],
    data: Path,
    out: Path,
    minutes: float,
) -> dict[str, Tensor] | None:
    """Weights of the network after its training in ``out``; None if ``minutes`` were over before its end."""
    training = StateTraining(config, state, action_scale, data)
    if not run_training(training, config.optimisation, out, minutes):
        return None
    return trained_weights(out)[0]


@torch.inference_mode()
def state_errors(head: StateHead, states: Tensor, actions: Tensor) -> Tensor:
    """Absolute errors (episodes t numbers) of states that are predicted in a row from the first of an episode."""
    return (head.rollout(states[:, 0], actions[:, :-1]) - states[:, 1:]).abs()
