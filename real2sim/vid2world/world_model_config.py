"""Everything a small world model is: its network, its first stage, how it was taught and how a frame is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from real2sim.actions import WIDTH
from real2sim.vid2world.unet_config import UNetConfig


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
    action_scale: tuple[float, ...] = (1.0,) * WIDTH
    """Factor on each of the 13 action numbers; 0 where the robot has no such part."""
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

    def __post_init__(self) -> None:
        channels = 3 * self.patch**2
        if self.unet.in_channels != 2 * channels or self.unet.out_channels != channels:
            raise ValueError(
                f"patches of {self.patch} x {self.patch} pixels need a U-Net with {2 * channels} channels in and "
                f"{channels} out, this one has {self.unet.in_channels} and {self.unet.out_channels}"
            )
        if self.unet.temporal_norm != "frame":
            raise ValueError(f'the world model needs temporal_norm="frame", got {self.unet.temporal_norm!r}')
        if len(self.action_scale) != WIDTH:
            raise ValueError(f"action_scale has {len(self.action_scale)} numbers, expected {WIDTH}")
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

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a frame, pixels."""
        return self.height, self.width

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one frame's latent."""
        return 3 * self.patch**2, self.height // self.patch, self.width // self.patch

    @classmethod
    def drawer(cls) -> WorldModelConfig:
        """The world model of the built-in drawer suite."""
        scale = [0.0] * WIDTH
        scale[3] = 1.0
        scale[10:13] = [1 / 0.06] * 3
        unet = replace(UNetConfig.small(), model_channels=48, window=12)
        return cls(unet=unet, action_scale=tuple(scale))

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


@dataclass(frozen=True)
class ForcingConfig:
    """How noise levels are drawn when a world model is taught (Diffusion Forcing, Chen et al. 2024)."""

    independent: float = 0.25
    """Share of windows in which every frame has its own uniform level."""
    clean: float = 0.5
    """In the other windows: probability that a frame is nearly clean, as history is when a frame is drawn."""
    clean_below: int = 80
    """Nearly clean means a level below this diffusion step."""
    pure: float = 0.5
    """Of the noisy frames: share that is pure noise, where drawing begins."""
    alternating: float = 0.0
    """Of the windows without independent levels: share in which every second frame is pure noise and the others are
    nearly clean, so that each has a finished frame before it, as when it is drawn."""
    action_dropout: float = 0.1
    """Probability that a frame's action is withheld."""
    motion_weight: float = 3.0
    """Extra weight of patches that move, and of their neighbours."""
    own_history: float = 0.0
    """Share of the training, at its end, in which half of the frames of history are the model's own drawings."""


@dataclass(frozen=True)
class Optimisation:
    """How long and how fast to train."""

    steps: int = 10_000
    windows: int = 3
    """Windows per pass and process."""
    accumulate: int = 1
    """Passes whose gradients are added before a step."""
    frames: int = 12
    """Frames per window."""
    learning_rate: float = 2e-3
    warmup: int = 100
    decay_from: float = 0.5
    """Fraction of the training after which the learning rate falls to zero along a cosine."""
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    """Decay of the averaged weights, which are what is kept; 0 keeps the weights themselves."""
    seed: int = 0
    mixed_precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool = False
    """Compute each block of the network again in the backward pass: less memory, a third more time."""
    compile: bool = False
    checkpoint_every: int = 200
    """Steps between checkpoints from which a stopped training continues."""

    def __post_init__(self) -> None:
        for name in ("steps", "windows", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.frames < 2:
            raise ValueError(f"a window needs at least 2 frames, got {self.frames}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema}")
