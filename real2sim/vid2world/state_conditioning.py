"""The part of a world model that knows the robot's state: what the network is told of it, and frames drawn from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from real2sim.vid2world.command_head import state_head
from real2sim.vid2world.copy_gate import copy_unchanged
from real2sim.vid2world.pixel_patches import PixelPatches
from real2sim.vid2world.pose_map import PoseMap
from real2sim.vid2world.state_head import StatePrediction
from real2sim.vid2world.world_model_config import WorldModelConfig


class StateConditioning(nn.Module):
    """Prediction of states, their pose map, and the copy gate; each is there if the configuration has it."""

    config: WorldModelConfig
    first_stage: PixelPatches

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        self.state_head: StatePrediction | None = None
        self.pose_map: PoseMap | None = None
        if config.state is not None:
            self.state_head = state_head(config.state, config.action_scale)
            if config.state.pose_map is not None:
                self.pose_map = PoseMap(
                    config.state.pose_map, config.state.names, config.height, config.width, config.patch
                )

    @property
    def other_modules(self) -> dict[str, nn.Module]:
        """What besides the U-Net has weights or was fitted to data, by name."""
        modules: dict[str, nn.Module] = {"first_stage": self.first_stage}
        return modules if self.state_head is None else modules | {"state_head": self.state_head}

    @property
    def state_names(self) -> tuple[str, ...]:
        """Numbers of the robot's state that ``reset`` needs; none for a model without a state."""
        return () if self.config.state is None else self.config.state.names

    def rendered(self, unet: nn.Module, condition: Tensor, robot: Tensor) -> tuple[Tensor, Tensor | None]:
        """Latents (b c t h w) of frames in which the robot's states are ``robot`` (b t numbers), drawn from start
        frames (b c 1 h w) by ``unet`` in one pass, and the gate's shares (b p*p t h w) if there is a gate."""
        lanes, frames = robot.shape[:2]
        x = self.with_pose_map(condition.expand(-1, -1, frames, -1, -1), robot)
        known = self.standardised(robot)
        return self.gated(unet(x, x.new_zeros(lanes), states=known), condition)

    def standardised(self, robot: Tensor) -> Tensor:
        """States (b t numbers) as the network is told them."""
        assert self.state_head is not None
        return self.state_head.standardised(robot)

    def with_pose_map(self, x: Tensor, robot: Tensor | None) -> Tensor:
        """The input of the network (b c t h w) with the pose map of each frame's state behind it."""
        if self.pose_map is None:
            return x
        assert robot is not None
        drawn = self.pose_map(robot.flatten(0, 1)).unflatten(0, robot.shape[:2]).to(x.dtype)
        if torch.is_grad_enabled():
            return torch.cat([x, drawn.transpose(1, 2)], dim=1)
        # Channels-last at once, as the network reads it.
        known, added = x.shape[1], drawn.shape[2]
        both = x.new_empty(*drawn.shape[:2], *x.shape[3:], known + added)
        both[..., :known] = x.permute(0, 2, 3, 4, 1)
        both[..., known:] = drawn.permute(0, 1, 3, 4, 2)
        return both.permute(0, 4, 1, 2, 3)

    def gated(self, prediction: Tensor, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network's output (b c t h w) means, and the share of new pixels (b p*p t h w) in it."""
        if not self.config.copy_gate:
            return prediction, None
        return copy_unchanged(prediction, condition, self.config.patch)
