"""Everything a small world model is: its network, its first stage, how it was taught and how a frame is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from real2sim.checks import check_finite, check_sizes
from real2sim.robot import Robot
from real2sim.vid2world.network.unet_config import UNetConfig
from real2sim.vid2world.state_config import StateConfig

LARGEST_SCALE, LARGEST_GUIDANCE = 1e9, 100.0
"""Beyond these a frame that is drawn is not finite."""


@dataclass(frozen=True)
class WorldModelConfig:
    """A pixel-space world model; the network is Vid2World's, the first stage are patches of pixels."""

    unet: UNetConfig
    height: int = 64
    """Of a frame, pixels."""
    width: int = 64
    patch: int = 4
    """Side of the squares of pixels that become the channels of the network's input."""
    prediction: Literal["x0", "v"] = "x0"
    """What the network predicts: the clean frame, or the velocity of the released weights."""
    action_scale: tuple[float, ...] = (1.0,) * 13
    """Factor on each number of the action that leads to a frame (`Robot.world_actions`); 0 where the robot has no such
    part."""
    steps: int = 1
    """Denoising steps per frame."""
    spacing: Literal["uniform_trailing", "uniform"] = "uniform_trailing"
    """Which of the 1000 diffusion steps a drawing visits; ``"uniform"`` does not begin at pure noise."""
    eta: float = 0.0
    """Share of fresh noise in each denoising step (DDIM's eta)."""
    guidance: float = 1.0
    """Weight of the newest action (Ho & Salimans 2022); 1 leaves the prediction as it is and needs half the
    passes."""
    context_level: int = 20
    """Diffusion step (of 1000) whose noise finished frames carry as history."""
    state: Annotated[StateConfig | None, tyro.conf.Suppress] = None
    """The robot's state, which conditions each frame and is predicted for the next one; None leaves it out."""
    draws_from: Literal["frames", "state"] = "frames"
    """A frame is drawn from the frames before it and the start frame, by denoising; or from its predicted state and
    the start frame alone, in one pass, so that no error of a drawing is handed on."""
    copy_gate: bool = False
    """Each pixel is mixed from a new one and that of the start frame, by a share that the network predicts and that
    is exactly 0 where nothing changes."""

    def __post_init__(self) -> None:
        check_sizes(self, "height", "width", "patch", high=16_384)
        for scale in self.action_scale:
            check_finite("action_scale", scale, -LARGEST_SCALE, LARGEST_SCALE)
        check_finite("guidance", self.guidance, -LARGEST_GUIDANCE, LARGEST_GUIDANCE)
        inputs, outputs = self.unet_channels
        if self.unet.in_channels != inputs or self.unet.out_channels != outputs:
            raise ValueError(
                f"patches of {self.patch} x {self.patch} pixels need a U-Net with {inputs} channels in and "
                f"{outputs} out, this one has {self.unet.in_channels} and {self.unet.out_channels}"
            )
        if self.draws_from not in ("frames", "state"):
            raise ValueError(f'draws_from must be "frames" or "state", got {self.draws_from!r}')
        if self.draws_from == "state" and self.state is None:
            raise ValueError('draws_from="state" needs state, the numbers that a frame is drawn from')
        numbers = None if self.state is None else len(self.state.names)
        if self.unet.state_dim != numbers:
            raise ValueError(f"the state has {numbers} numbers, the U-Net was made for {self.unet.state_dim}")
        if self.state is not None:
            self.state.check_actions(len(self.action_scale))
        if self.copy_gate and self.prediction != "x0":
            raise ValueError(
                f'copy_gate mixes clean frames: it needs prediction="x0", got {self.prediction!r}'
            )
        if self.unet.temporal_norm != "frame":
            raise ValueError(f'the world model needs temporal_norm="frame", got {self.unet.temporal_norm!r}')
        told = None if self.draws_from == "state" and self.unet.action_dim is None else len(self.action_scale)
        if told != self.unet.action_dim:
            raise ValueError(
                f"action_scale has {len(self.action_scale)} numbers, the U-Net takes actions of "
                f"{self.unet.action_dim}"
            )
        self._check_size(self.image_size, "frames")
        if self.prediction not in ("x0", "v"):
            raise ValueError(f'prediction must be "x0" or "v", got {self.prediction!r}')
        if not 1 <= self.steps <= 50:
            raise ValueError(f"steps must be between 1 and 50, got {self.steps}")
        if self.spacing not in ("uniform_trailing", "uniform"):
            raise ValueError(f'spacing must be "uniform_trailing" or "uniform", got {self.spacing!r}')
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {self.eta}")
        if not 0 <= self.context_level < 999:
            raise ValueError(f"context_level must be between 0 and 998, got {self.context_level}")

    def _check_size(self, size: tuple[int, int], what: str) -> None:
        """Raise a ValueError that names the nearest sizes unless patches and levels allow frames of this size."""
        multiple = self.patch * 2 ** (len(self.unet.channel_mult) - 1)
        if any(side % multiple or side < multiple for side in size):
            nearest = [max(multiple, round(side / multiple) * multiple) for side in size]
            above = [-(-side // multiple) * multiple for side in size]
            sizes = dict.fromkeys(f"{height} x {width}" for height, width in (nearest, above))
            raise ValueError(
                f"{what} are {size[0]} x {size[1]} pixels; patches of {self.patch} pixels and "
                f"{len(self.unet.channel_mult)} levels need multiples of {multiple}, for example {' or '.join(sizes)}"
            )

    def for_robot(self, robot: Robot) -> WorldModelConfig:
        """The same for another robot: size of the canvas, width and scale of its actions."""
        size = robot.canvas_size
        self._check_size(size, f"frames of robot {robot.name!r}")
        height, width = size
        position_map = (height // self.patch, width // self.patch)
        # A frame that is drawn from a state need not be told the action: the state has it in it.
        told = None if self.unet.action_dim is None else robot.world_action_width
        unet = replace(self.unet, action_dim=told, position_map=position_map)
        return replace(self, unet=unet, height=height, width=width, action_scale=robot.world_action_scale)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a frame, pixels."""
        return self.height, self.width

    @property
    def unet_channels(self) -> tuple[int, int]:
        """Channels in (noisy frame, start frame, pose map) and out (new frame, gate) that the U-Net must have."""
        square = self.patch**2
        drawn = (
            0 if self.state is None or self.state.pose_map is None else self.state.pose_map.inputs(self.patch)
        )
        inputs = 6 if self.draws_from == "frames" else 3
        return square * inputs + drawn, square * (3 + self.copy_gate)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one frame's latent."""
        return 3 * self.patch**2, self.height // self.patch, self.width // self.patch

    @classmethod
    def small(cls) -> WorldModelConfig:
        """Under five million parameters, for frames of about 64 x 64 pixels; `for_robot` fits it to a robot."""
        return cls(unet=replace(UNetConfig.small(), model_channels=48, window=12))

    @classmethod
    def tiny(cls) -> WorldModelConfig:
        """The same classes at toy size: 16 x 16 pixels, some thousand weights."""
        unet = replace(
            UNetConfig.small(height=4, width=4),
            model_channels=16,
            channel_mult=(1, 1),
            attention_resolutions=(2,),
            num_head_channels=8,
            norm_groups=4,
            window=4,
        )
        return cls(unet=unet, height=16, width=16)
