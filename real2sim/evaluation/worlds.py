"""The worlds an episode can happen in, behind one surface: a learned world model, or physics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from real2sim.evaluation.lanes import World
from real2sim.evaluation.policies import folder_fingerprint
from real2sim.evaluation.suite import Start, Suite
from real2sim.model_folder import CONFIG_FILE, read_kind

MODEL = "world_model"
RELEASED = "vid2world"
PHYSICS = "mujoco"


@dataclass(frozen=True)
class Drawing:
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


class ModelWorld:
    """A learned world model as a world."""

    name = MODEL

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def frame_passes_per_frame(self) -> int:
        """Passes of the network over one frame that one new frame costs."""
        return int(self._model.frame_passes_per_frame)

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> Any:
        """A state that stands at the start frames."""
        return self._model.reset(np.stack([start.frame for start in starts]), [int(seed) for seed in seeds])

    def step(self, state: Any, actions: np.ndarray) -> tuple[np.ndarray, Any]:
        """Next frames uint8 (b h w 3) and state, for actions (b 13)."""
        frames, state = self._model.step(state, actions)
        return np.asarray(frames), state

    def outcomes(self, state: Any) -> None:
        """A world model does not know; a judge has to look."""
        return None


def open_world(name: str, suite: Suite, device: str = "cpu", drawing: Drawing | None = None) -> World:
    """The suite's own world model (``"world_model"``), a world model in a folder, or ``"mujoco"``."""
    if name == PHYSICS:
        from real2sim.envs.drawer_world import DrawerWorld

        return DrawerWorld()
    folder = model_folder(name, suite)
    model = load_model(folder, device, drawing)
    size = model.config.image_size
    if size != suite.config.image_size:
        raise ValueError(
            f"the world model in {folder} draws frames of {size[0]} x {size[1]} pixels, suite "
            f"{suite.name!r} has "
            f"{suite.config.image_size[0]} x {suite.config.image_size[1]}; was it trained on another camera?"
        )
    return ModelWorld(model)


def load_model(folder: Path, device: str = "cpu", drawing: Drawing | None = None) -> Any:
    """The world model of a folder, of any kind."""
    kind = read_kind(folder)
    model: Any
    if kind == MODEL:
        from real2sim.vid2world.world_model import WorldModel

        model = WorldModel.from_folder(folder)
    elif kind == RELEASED:
        from real2sim.vid2world.released import Vid2World

        model = Vid2World.from_folder(folder)
    else:
        raise ValueError(
            f"{folder / CONFIG_FILE} holds a model of kind {kind!r}; expected a world model "
            f"({MODEL!r} or {RELEASED!r})"
        )
    return (drawing or Drawing()).applied(model.to(device))


def model_folder(name: str, suite: Suite) -> Path:
    """Where a world model lies."""
    folder = suite.folder / MODEL if name == MODEL else Path(name).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no world model in {folder}; "
            f"train one with `real2sim train world-model`, or use --world {PHYSICS}"
        )
    return folder


def world_fingerprint(name: str, suite: Suite, drawing: Drawing | None = None) -> str:
    """Tells worlds apart whose rows must not be mixed in one run."""
    if name == PHYSICS:
        return PHYSICS
    return f"{MODEL} {folder_fingerprint(model_folder(name, suite))} {drawing or Drawing()}".rstrip()
