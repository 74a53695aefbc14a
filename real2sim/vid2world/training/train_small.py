"""Training of the small world model: Diffusion Forcing on windows of recorded episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn

from real2sim.episodes.learned_files import learned_files
from real2sim.host_copies import to_device
from real2sim.model_folder import config_from_dict, read_config
from real2sim.robot import Robot, read_robot
from real2sim.training.checkpoint import SETTINGS_FILE, read_settings
from real2sim.training.loop import TrainingTask, run_training, trained_weights
from real2sim.vid2world.levels import signal_levels
from real2sim.vid2world.training.diffusion_forcing import (
    PURE,
    ForcingConfig,
    Window,
    add_noise,
    clean_from,
    draw_levels,
    forcing_loss,
)
from real2sim.vid2world.training.perception import PerceptionConfig, perceptions, perceptual_loss
from real2sim.vid2world.training.pretrained import (
    Learned,
    Pretrained,
    check_options,
    first_model,
    read_pretrained,
)
from real2sim.vid2world.training.robot_fit import fit_to_dataset, with_object_state, with_robot_state
from real2sim.vid2world.training.train_rendering import RenderingConfig, RenderingTraining
from real2sim.vid2world.training.train_states import (
    STATES_FOLDER,
    StateTraining,
    StateTrainingConfig,
    taught_states,
)
from real2sim.vid2world.training.windows import WindowOptimisation, WindowSource
from real2sim.vid2world.world_model import KIND, WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig

CARD = "# World model\n\nWritten by `real2sim train world-model`.\n"


@dataclass(frozen=True)
class TrainWorldModel:
    """Train a small world model on a dataset folder; a stopped training continues from its last checkpoint.

    With ``--released FOLDER`` a converted Vid2World or DynamiCrafter model is trained instead;
    ``real2sim train world-model --released FOLDER --help`` lists the options of that.
    """

    data: Path
    """Dataset folder: one npz per episode with image (t h w 3) and action (t n) or (t K n), and robot.json."""
    out: Path
    """Folder of the training: checkpoint, log and the finished model in ``model/``."""
    model: WorldModelConfig = field(default_factory=WorldModelConfig.small)
    """Sizes of the network; height, width, width and scale of the action are those of the dataset's robot."""
    forcing: ForcingConfig = ForcingConfig()
    optimisation: WindowOptimisation = WindowOptimisation()
    perception: PerceptionConfig = PerceptionConfig()
    states: StateTrainingConfig = StateTrainingConfig()
    """For models with a robot's state: how the prediction of the next one is taught, before anything else."""
    rendering: RenderingConfig = RenderingConfig()
    """For models that draw from states: the loss."""
    like: Path | None = None
    """Folder of a world model (or its config.json) whose configuration the new one has, in the place of ``model``:
    a pose map, and the way to a model that draws from states, come so."""
    pretrained: Path | None = None
    """Folder of a world model with whose weights and configuration the training begins (fine-tuning), in the place of
    random ones. What it was fitted to, such as the sizes of states and the background, stays as it is."""
    learn: Learned = "all"
    """With `--pretrained`, for models with a robot's state: learn only to predict states, or only to draw frames, and
    keep the other part."""
    robot_state: bool = False
    """Tell the model the state of the dataset's robot at each frame, and let it predict the next one."""
    object_state: bool = False
    """Tell it also where objects are, as far as the dataset knows (`observation.environment_state`), and draw each
    frame from the predicted state and the start frame alone: sharper, and cheaper to train."""
    derived: tuple[str, ...] = ()
    """With `--object-state`: numbers of `observation.environment_state` that the robot's joints alone decide, such as
    the tool's place; they are computed from the joints, so they cannot drift away from them."""
    max_minutes: float = math.inf
    """Stop after this time; run the same command again to resume."""

    def __post_init__(self) -> None:
        if self.derived and not self.object_state:
            raise ValueError(
                f"derived names {self.derived[0]!r} and counts only with --object-state; give both, or leave it out"
            )

    def run(self) -> Path | None:
        """Train; see `train_world_model`."""
        return train_world_model(self)


def train_world_model(config: TrainWorldModel) -> Path | None:
    """Run (or continue) a training; gives the folder of the finished model, or None if time ran out before."""
    check_options(
        config.pretrained, config.learn, config.like, config.model, config.robot_state, config.object_state
    )
    start = None
    if config.pretrained is not None:
        start = read_pretrained(config.pretrained, config.data, config.learn)
        config = replace(config, model=start.model.config)
    if config.like is not None:
        config = replace(config, model=_configuration_of(config.like), like=None)
    if config.object_state:
        config = replace(config, model=with_object_state(config.model, config.data, config.derived))
    elif config.robot_state:
        config = replace(config, model=with_robot_state(config.model, config.data))
    config = replace(config, model=fit_to_dataset(config.model, config.data))
    folder, robot = config.out / "model", read_robot(config.data)
    head = None if start is None or start.model.state_head is None else start.model.state_head.state_dict()
    if config.model.state is not None and config.learn != "frames":
        states = StateTraining(
            config.states, config.model.state, config.model.action_scale, config.data, start
        )
        head = taught_states(states, config.out / STATES_FOLDER, config.max_minutes)
        if head is None:
            return None
        if start is not None and config.learn == "states":
            assert start.model.state_head is not None
            start.model.state_head.load_state_dict(head)
            if PartialState().is_main_process:
                start.model.save(folder, CARD, robot)
            return folder
    training: TrainingTask
    if config.model.draws_from == "state":
        assert head is not None
        training = RenderingTraining(
            config.model, config.rendering, config.optimisation, config.data, head, start
        )
    else:
        training = PixelTraining(config, head, start)
    if not run_training(training, config.optimisation, config.out, config.max_minutes):
        return None
    if PartialState().is_main_process:
        export(config.out, folder, robot=robot)
    return folder


def _configuration_of(path: Path) -> WorldModelConfig:
    """The configuration of a world model's folder, or of its config.json."""
    folder = path if path.is_dir() else path.parent
    return read_config(folder, KIND, WorldModelConfig)


class PixelTraining:
    """A new small model and the dataset it learns from, for the training loop."""

    fixed_settings = ("model", "pretrained")

    def __init__(
        self,
        config: TrainWorldModel,
        head: Mapping[str, Tensor] | None = None,
        start: Pretrained | None = None,
    ) -> None:
        self.config = config
        optimisation, state = config.optimisation, config.model.state
        self.source = WindowSource(config.data, optimisation.frames, () if state is None else state.names)
        self.model = first_model(config.model, self.source, optimisation.seed, start)
        if self.model.state_head is not None and head is not None:
            self.model.state_head.load_state_dict(dict(head))
        seen = config.perception
        self.perceptions = perceptions(seen, config.data, config.out) if seen.weight else None

    @property
    def trained(self) -> nn.Module:
        return self.model.unet

    @property
    def extra_modules(self) -> Mapping[str, nn.Module]:
        return self.model.other_modules

    def settings(self) -> Mapping[str, Any]:
        config = self.config
        return {
            "model": config.model,
            "pretrained": config.pretrained,
            "forcing": config.forcing,
            "optimisation": config.optimisation,
            "perception": config.perception,
        }

    def learned_files(self) -> list[Path]:
        return learned_files([self.config.data])

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        window = self.source.draw(self.model, self.config.optimisation.windows, rng)
        forcing, lanes, frames = self.config.forcing, window.latents.shape[0], window.latents.shape[2]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        device = window.latents.device
        levels = to_device(draw_levels(forcing, lanes, frames, generator), device)
        noise = to_device(torch.randn(window.latents.shape, generator=generator), device)
        action_mask = (
            (torch.rand((lanes, frames), generator=generator) >= forcing.action_dropout).float().to(device)
        )
        history = window.latents
        if step >= (1 - forcing.own_history) * self.config.optimisation.steps:
            history = self._own_drawings(network, window, action_mask, generator)
        alpha = signal_levels().to(device)[levels]
        # Only nearly clean frames are history; replacing the others would change what the target is.
        x = add_noise(
            torch.where((levels < forcing.clean_below)[:, None, :, None, None], history, window.latents),
            noise,
            alpha,
        )
        prediction = self._predict(network, x, window, levels, action_mask)
        kind = self.config.model.prediction
        clean = clean_from(prediction.float(), x, alpha, kind)
        loss = forcing_loss(clean, window, levels, alpha, forcing.motion_weight)
        if self.perceptions is not None:
            loss = loss + self._perceptual(clean, window, (levels == PURE) & (action_mask > 0))
        return {"loss": loss}

    def _perceptual(self, clean: Tensor, window: Window, drawn: Tensor) -> Tensor:
        """The loss of what is seen in the frames where ``drawn`` (b t): drawn from pure noise, with their action."""
        if not drawn.any():
            return clean.new_zeros(())
        assert self.perceptions is not None
        networks = self.perceptions.to(clean.device)
        pixels = self.model.first_stage.pixels
        frames = [pixels(latents.transpose(1, 2)[drawn]) for latents in (clean, window.latents)]
        return self.config.perception.weight * perceptual_loss(networks, *frames)

    def _predict(
        self, network: nn.Module, x: Tensor, window: Window, levels: Tensor, action_mask: Tensor
    ) -> Tensor:
        condition = window.condition.expand(-1, -1, x.shape[2], -1, -1)
        prediction: Tensor = network(
            self.model.with_pose_map(torch.cat([x, condition], dim=1), window.robot),
            levels.float(),
            actions=window.actions,
            action_mask=action_mask,
            states=None if window.robot is None else self.model.standardised(window.robot),
            gradient_checkpointing=self.config.optimisation.gradient_checkpointing,
        )
        return self.model.gated(prediction, window.condition)[0]

    @torch.no_grad()
    def _own_drawings(
        self, network: nn.Module, window: Window, action_mask: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The window with half of its later frames replaced by what the model draws for them in one step.

        Each further pass (``own_depth``) draws another half from what the pass before left, so that drawings stand
        upon drawings."""
        history, signal = window.latents, signal_levels().to(window.latents.device)
        lanes, frames = history.shape[0], history.shape[2]
        for _ in range(self.config.forcing.own_depth):
            drawn = torch.rand((lanes, frames), generator=generator).to(history.device) < 0.5
            drawn[:, 0] = False
            levels = torch.where(drawn, PURE, 20)
            noise = to_device(torch.randn(history.shape, generator=generator), history.device)
            alpha = signal[levels]
            x = add_noise(history, noise, alpha)
            prediction = self._predict(network, x, window, levels, action_mask).float()
            clean = clean_from(prediction, x, alpha, self.config.model.prediction)
            history = torch.where(drawn[:, None, :, None, None], clean, history)
        return history


def export(
    out: Path,
    folder: Path,
    card: str = CARD,
    robot: Robot | None = None,
) -> None:
    """Write the model folder of a training from its last checkpoint, with the averaged weights."""
    settings = read_settings(out)
    model = WorldModel(config_from_dict(WorldModelConfig, settings.get("model"), str(out / SETTINGS_FILE)))
    weights, state = trained_weights(out)
    model.unet.load_state_dict(weights)
    model.first_stage.load_state_dict(state["extra"]["first_stage"])
    if model.state_head is not None:
        model.state_head.load_state_dict(state["extra"]["state_head"])
    model.save(folder, card, robot)
