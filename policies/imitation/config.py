"""What an imitation policy sees, remembers and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from real2sim.checks import check_finite, check_sizes, check_temperature

HOTTEST = 100.0
"""Largest temperature; at 1 a policy draws as it was trained to."""
Head = Literal["regression", "mixture", "diffusion"]


@dataclass(frozen=True)
class Tile:
    """One camera's part of the canvas, in pixels."""

    name: str
    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        check_sizes(self, "top", "left", low=0, within=f"camera {self.name!r}: ")
        check_sizes(self, "height", "width", within=f"camera {self.name!r}: ")


@dataclass(frozen=True)
class ImitationConfig:
    """Everything that decides the shape of an imitation policy and how it acts."""

    image_size: tuple[int, int] = (64, 64)
    """Height and width of a frame in pixels."""
    cameras: tuple[Tile, ...] = ()
    """Parts of the frame that are encoded one by one, each by its own encoder; none means the whole frame."""
    state: int = 0
    """How many numbers of proprioception are read beside the picture; 0 reads none."""
    actions: int = 13
    """Numbers in an action."""
    action_low: tuple[float, ...] = ()
    """Smallest value of each number of an action; answers are clipped to it. Empty: not clipped."""
    action_high: tuple[float, ...] = ()
    """Largest value of each number of an action."""
    actions_per_frame: int = 1
    """Actions that the robot takes between two frames."""
    frames: int = 1
    """Newest frames that are seen together; at the beginning of an episode the first one is repeated."""
    recurrent: int = 0
    """Width of a gated recurrent unit (GRU) over the whole episode; 0 is none."""
    chunk: int = 1
    """Actions that are predicted at once, a multiple of those per frame."""
    execute: int | None = None
    """How many of them are played before the policy looks again; all if empty."""
    decoder: Literal["linear", "transformer"] = "linear"
    """How the actions of a chunk read the picture: one linear map from a pooled vector, or a transformer decoder whose
    queries attend to every cell of the feature maps (as in ACT, Zhao et al. 2023)."""
    head: Head = "regression"
    """Least absolute error, a mixture of Gaussians, or diffusion over the chunk (Chi et al. 2023)."""
    channels: tuple[int, ...] = (16, 32, 48)
    """Filters of the strided convolutions of the encoder; each halves the picture."""
    pooling: Literal["keypoints", "grid"] = "keypoints"
    """How feature maps become a vector: where each one is strongest (spatial softmax, Levine et al. 2016), or
    eight maps as they are."""
    embedding: int = 16
    """Length of an instruction's vector."""
    width: int = 96
    """Width of the layers after the encoder."""
    layers: int = 2
    """Layers of the transformer decoder."""
    heads: int = 4
    """Attention heads of the transformer decoder."""
    components: int = 5
    """Gaussians of the mixture head."""
    diffusion_steps: int = 8
    """Denoising steps of the diffusion head."""
    temperature: float = 0.0
    """Scale of the randomness of mixture and diffusion: 0 takes the mean of the likeliest component, or denoises from
    zero; at 1 they draw as they were trained to."""

    def __post_init__(self) -> None:
        check_sizes(self, "image_size", "actions", "actions_per_frame", "frames", "chunk", "channels")
        check_sizes(self, "embedding", "width", "heads", "components", "diffusion_steps")
        check_sizes(self, "layers", high=64)
        check_sizes(self, "state", "recurrent", low=0)
        check_temperature(self.temperature, HOTTEST)
        if not self.channels:
            raise ValueError("channels is empty; expected the filters of one layer at least")
        per_frame = self.actions_per_frame
        if self.chunk % per_frame or (self.execute or per_frame) % per_frame:
            raise ValueError(
                f"chunk {self.chunk} and execute {self.execute or 'all'} must be multiples of the {per_frame} actions "
                "that the robot takes per frame"
            )
        if self.execute is not None and not 1 <= self.execute <= self.chunk:
            raise ValueError(f"execute lies between 1 and the chunk of {self.chunk}, got {self.execute}")
        if self.decoder == "transformer" and self.recurrent:
            raise ValueError(
                "a transformer decoder reads feature maps, a recurrent policy has one vector of its past; "
                "set recurrent to 0 or decoder to 'linear'"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of the {self.heads} heads")
        for name in ("action_low", "action_high"):
            if len(getattr(self, name)) not in (0, self.actions):
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} numbers, an action has {self.actions}"
                )
        if len(self.action_low) != len(self.action_high):
            raise ValueError(
                f"action_low has {len(self.action_low)} numbers and action_high {len(self.action_high)}; expected both "
                "or none"
            )
        for low, high in zip(self.action_low, self.action_high, strict=False):
            if check_finite("action_low", low) > check_finite("action_high", high):
                raise ValueError(f"action_low has {low:g} where action_high has {high:g}; expected no more")
        height, width = self.image_size
        for tile in self.cameras:
            if tile.top + tile.height > height or tile.left + tile.width > width:
                raise ValueError(
                    f"camera {tile.name!r} does not lie inside the frame of {height} x {width} pixels"
                )

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The parts of the frame that are encoded: the cameras, or the whole frame."""
        return self.cameras or (Tile("canvas", 0, 0, *self.image_size),)

    @property
    def plays(self) -> int:
        """Actions played before the policy looks again."""
        return self.execute or self.chunk

    @classmethod
    def tiny(cls) -> ImitationConfig:
        """Toy size for tests, at 16 x 16 pixels."""
        return cls(image_size=(16, 16), channels=(8, 8), embedding=8, width=16, heads=2, layers=1)
