"""Every training at toy size, as the training loop sees it: for tests of what all of them have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from real2sim.actions import pack
from real2sim.episodes.arrays import write_arrays
from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.train import Cloning, ImitationTraining
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.demonstrations import Demonstrations
from real2sim.policies.rt1.train import BehaviourCloning, PolicyTraining
from real2sim.success.classifier import ClassifierConfig
from real2sim.success.train_classifier import ClassifierTraining, OutcomeTraining
from real2sim.success.train_gate import ActionRecovery, GateTraining
from real2sim.training.loop import TrainingTask
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.command_head import state_head
from real2sim.vid2world.training.diffusion_forcing import ForcingConfig
from real2sim.vid2world.training.perception import PerceptionConfig
from real2sim.vid2world.training.train_released import LatentTraining, TrainReleased
from real2sim.vid2world.training.train_rendering import RenderingConfig, RenderingTraining
from real2sim.vid2world.training.train_small import PixelTraining, TrainWorldModel
from real2sim.vid2world.training.train_states import StateTraining, StateTrainingConfig
from real2sim.vid2world.training.windows import WindowOptimisation
from tests.success.conftest import write_episode as write_drawer_episode
from tests.success.test_gate import write as write_moves
from tests.vid2world.robot_states import model_config, state_config, write_episodes
from tests.vid2world.test_command_head import CONFIG as BY_COMMAND
from tests.vid2world.test_command_head import SCALE, write_pushes
from tests.vid2world.test_train_released import write_episodes as write_videos
from tests.vid2world.test_train_released import write_start

STEPS = 20
WINDOWS = WindowOptimisation(steps=STEPS, windows=2, frames=4, warmup=1, checkpoint_every=STEPS)
OPTIMISATION = Optimisation(steps=STEPS, warmup=1, checkpoint_every=STEPS)
SCALES = (1.0,) * 13


def _states(folder: Path) -> TrainingTask:
    config = StateTrainingConfig(OPTIMISATION, batch=16, single=0.0, unroll=3)
    return StateTraining(config, state_config(), SCALES, write_episodes(folder / "data"))


def _states_by_command(folder: Path) -> TrainingTask:
    config = StateTrainingConfig(OPTIMISATION, batch=16, single=0.0, unroll=3)
    return StateTraining(config, BY_COMMAND, SCALE, write_pushes(folder / "data", 6))


def _rendering(folder: Path) -> TrainingTask:
    model, data = model_config("state", learned=2), write_episodes(folder / "data")
    assert model.state is not None
    head = state_head(model.state, model.action_scale).state_dict()
    return RenderingTraining(model, RenderingConfig(), WINDOWS, data, head)


def _pixels(folder: Path) -> TrainingTask:
    """Own drawings from the first step on, and a loss of what is seen."""
    seen = PerceptionConfig(weight=1.0, targets=("state",), networks=1, steps=2, batch=4, width=8)
    forcing = ForcingConfig(own_history=1.0, pure=0.9)
    data = write_episodes(folder / "data")
    return PixelTraining(
        TrainWorldModel(data, folder / "out", model_config("frames"), forcing, WINDOWS, perception=seen)
    )


def _released(folder: Path, *, resampler: bool = False) -> TrainingTask:
    data = write_videos(folder / "data", (5, 7))
    windows = replace(WINDOWS, windows=1, frames=3)
    start = write_start(folder / "start")
    return LatentTraining(
        TrainReleased(start, data, folder / "out", optimisation=windows, train_resampler=resampler)
    )


def _classifier(folder: Path) -> TrainingTask:
    data, rng = folder / "data", np.random.default_rng(7)
    data.mkdir()
    for number in range(20):
        write_drawer_episode(data / f"episode-{number:03d}.npz", rng)
    return OutcomeTraining(
        ClassifierTraining((data,), folder / "out", classifier=ClassifierConfig.tiny(), steps=STEPS, batch=8)
    )


def _gate(folder: Path) -> TrainingTask:
    return ActionRecovery(
        GateTraining((write_moves(folder / "data", 60, 1),), folder / "out", steps=STEPS, batch=8)
    )


def _demonstrations(folder: Path, size: int) -> Demonstrations:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        action = pack({"world_vector": rng.uniform(-0.06, 0.06, (7, 3))})
        episode = {
            "image": rng.integers(0, 256, (7, size, size, 3), dtype=np.uint8),
            "action": action,
            "state": rng.normal(size=(7, 2)).astype(np.float32),
            "instruction": np.array("close drawer"),
        }
        write_arrays(folder / f"episode_{number}.npz", episode)
    return Demonstrations(folder)


def _rt1(folder: Path) -> TrainingTask:
    data = _demonstrations(folder / "data", 32)
    return BehaviourCloning(
        PolicyTraining(data, folder / "out", network=RT1Config.tiny(), steps=STEPS, batch=4)
    )


def _imitation(folder: Path, **changes: object) -> TrainingTask:
    network = replace(ImitationConfig.tiny(), **changes)  # type: ignore[arg-type]
    data = _demonstrations(folder / "data", 16)
    return Cloning(ImitationTraining(data, folder / "out", network, batch=4, steps=STEPS))


TRAININGS: dict[str, Callable[[Path], TrainingTask]] = {
    "states": _states,
    "states by command": _states_by_command,
    "frames from states": _rendering,
    "frames from frames": _pixels,
    "released model": _released,
    "released model with its resampler": lambda folder: _released(folder, resampler=True),
    "judge": _classifier,
    "validity gate": _gate,
    "RT-1": _rt1,
    "imitation by regression": _imitation,
    "imitation with states, recurrent": lambda folder: _imitation(folder, state=2, recurrent=8),
    "imitation by a mixture": lambda folder: _imitation(folder, head="mixture", chunk=2),
    "imitation by diffusion": lambda folder: _imitation(folder, head="diffusion", chunk=2, frames=2),
}
"""Name of a training -> the task made of data that is written to a folder."""
