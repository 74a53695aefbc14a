"""What the command ``real2sim convert`` is asked for where it concerns weights; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from real2sim.checks import check_sizes

StoredType = Literal["keep", "float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class HeadChannels:
    """Channels per attention head, which no tensor's shape tells; the defaults are the released models'."""

    resampler: int = 64
    text: int = 64
    image: int = 80

    def __post_init__(self) -> None:
        check_sizes(self, "resampler", "text", "image")


@dataclass(frozen=True)
class ConvertVid2World:
    """Turn a published Vid2World checkpoint into a folder that ``Vid2World.from_pretrained`` reads."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A Lightning .ckpt, or a .safetensors file with the same names."""
    out: Path
    """Folder to write; it must not exist yet."""
    action_width: int | None = None
    """Numbers per action; by default those of the published models: 13 (RT-1), 3 (RECON) or, where the checkpoint
    has a table of actions, 51 (CS:GO)."""
    image_size: tuple[int, int] | None = None
    """Height and width of camera frames; by default 256 320 (RT-1), 320 320 (RECON) or 150 280 (CS:GO)."""
    dtype: StoredType = "keep"
    """Number format of the stored weights; float16 halves the folder."""
    source: str = ""
    """Where the checkpoint is from, for the model card, e.g. thuml/Vid2World-RT1."""
    licence: str = ""
    """Licence of the checkpoint, for the model card."""
    heads: HeadChannels = field(default_factory=HeadChannels)

    def __post_init__(self) -> None:
        check_sizes(
            self, *(name for name in ("action_width", "image_size") if getattr(self, name) is not None)
        )

    def run(self) -> Path:
        """Convert and give the folder; see :func:`real2sim.vid2world.released.checkpoint.convert_vid2world`."""
        from real2sim.vid2world.released.checkpoint import convert_vid2world

        return convert_vid2world(self)


@dataclass(frozen=True)
class ConvertDynamiCrafter:
    """Turn DynamiCrafter-512, a video model, into an untrained world model with causal weights."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """DynamiCrafter's model.ckpt, or a .safetensors file with the same names."""
    out: Path
    """Folder to write; it must not exist yet."""
    transfer: Literal["extrapolative", "masked", "shift"] = "extrapolative"
    """How kernels over time that look both ways become causal."""
    action_width: int = 13
    """Numbers per action of the robot that the model will be trained for."""
    image_size: tuple[int, int] = (256, 320)
    """Height and width of camera frames."""
    robot: Path | None = None
    """Dataset folder whose robot.json says both instead, and how actions are scaled."""
    dtype: StoredType = "keep"
    """Number format of the stored weights; float16 halves the folder."""
    seed: int = 0
    """Of the action embedding, the only part that begins untrained."""
    source: str = ""
    """Where the checkpoint is from, for the model card, e.g. Doubiiu/DynamiCrafter_512."""
    licence: str = ""
    """Licence of the checkpoint, for the model card."""
    heads: HeadChannels = field(default_factory=HeadChannels)

    def __post_init__(self) -> None:
        check_sizes(self, "action_width", "image_size")

    def run(self) -> Path:
        """Convert and give the folder; see :func:`real2sim.vid2world.released.checkpoint.convert_dynamicrafter`."""
        from real2sim.vid2world.released.checkpoint import convert_dynamicrafter

        return convert_dynamicrafter(self)
