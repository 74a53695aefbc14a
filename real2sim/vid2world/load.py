"""A world model of either kind from its folder, and how it draws where that is not to be what the folder says."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from real2sim.checks import check_finite, check_whole
from real2sim.model_folder import CONFIG_FILE, read_kind

MODEL = "world_model"
RELEASED = "vid2world"


@dataclass(frozen=True)
class SamplingOverrides:
    """How a world model draws, where that is not to be what its folder says."""

    steps: int | None = None
    """Denoising steps per frame, 1 to 50."""
    eta: float | None = None
    """Share of fresh noise in each denoising step (DDIM's eta)."""
    guidance: float | None = None
    """Weight of the newest action; 1 is none, anything else doubles the denoising passes."""
    history: Literal["exact", "cached"] | None = None
    """Released weights only: pass over the whole history in each denoising step, or read it from a cache, which is
    several times faster and not quite the same (docs/speed.md)."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Number format of the network."""
    compile: bool = False
    """Compile the network (torch.compile): less time per frame with few lanes, a minute or two at the start
    (docs/speed.md)."""

    def __post_init__(self) -> None:
        if self.steps is not None:
            check_whole("steps", self.steps, 1, 50)
        if self.eta is not None:
            check_finite("eta", self.eta, 0, 1)
        if self.guidance is not None:
            check_finite("guidance", self.guidance, -100, 100)

    def __str__(self) -> str:
        """What is not left to the folder, for run.json."""
        chosen = ((field.name, getattr(self, field.name)) for field in fields(self))
        return " ".join(
            f"{name}={value}" for name, value in chosen if value is not None and value is not False
        )

    def applied(self, model: Any) -> Any:
        """The model, changed in place."""
        released = hasattr(model.config, "sampler")
        names = ("steps", "eta", "guidance", "history")
        settings = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if "history" in settings and not released:
            raise ValueError(
                "--history is for released weights; the cache of models trained here is exact, leave it out"
            )
        if released:
            model.config = replace(model.config, sampler=replace(model.config.sampler, **settings))
        else:
            model.config = replace(model.config, **settings)
        if self.precision is not None:
            import torch

            # The first stage of a small model has no weights; its pixels stay exact.
            (model if released else model.unet).to(getattr(torch, self.precision))
        if self.compile:
            model.unet.compile_passes()
        return model


def load_model(folder: Path, device: str = "cpu", sampling: SamplingOverrides | None = None) -> Any:
    """The world model of a folder, of any kind."""
    kind = read_kind(folder)
    model: Any
    if kind == MODEL:
        from real2sim.vid2world.world_model import WorldModel

        model = WorldModel.from_folder(folder)
    elif kind == RELEASED:
        from real2sim.vid2world.released.model import Vid2World

        model = Vid2World.from_folder(folder)
    else:
        raise ValueError(
            f"{folder / CONFIG_FILE} holds a model of kind {kind!r}; expected a world model "
            f"({MODEL!r} or {RELEASED!r})"
        )
    return (sampling or SamplingOverrides()).applied(model.to(device))
