"""The kinds of world models: how each is loaded and trained, and overrides of its sampling settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, TypeGuard, TypeVar, runtime_checkable

import numpy as np

from real2sim.checks import as_path, check_device, check_finite, check_kinds, check_whole
from real2sim.model_folder import CONFIG_FILE, read_kind

MODEL = "world_model"
RELEASED = "vid2world"


@dataclass(frozen=True)
class SamplingOverrides:
    """Overrides of a world model's sampling settings."""

    steps: int | None = None
    """Denoising steps per frame, 1 to 50."""
    eta: float | None = None
    """Share of fresh noise in each denoising step (DDIM's eta)."""
    guidance: float | None = None
    """Weight of the newest action; 1 is none, anything else doubles the denoising passes."""
    history: Literal["exact", "cached"] | None = None
    """Released weights only: pass over the whole history in each denoising step, or read it from a cache, which is
    several times faster and not quite the same (docs/speed.md)."""
    context: int | None = None
    """Released weights only: past frames that the model looks at; fewer are cheaper and drift sooner."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Number format of the network."""
    compile: bool = False
    """Compile the network (torch.compile): less time per frame with few lanes, a minute or two at the start
    (docs/speed.md)."""

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.steps is not None:
            check_whole("steps", self.steps, 1, 50)
        if self.eta is not None:
            check_finite("eta", self.eta, 0, 1)
        if self.guidance is not None:
            check_finite("guidance", self.guidance, -100, 100)
        if self.context is not None:
            check_whole("context", self.context, 1, 1000)

    def __str__(self) -> str:
        """The overrides that are set, for run.json."""
        chosen = ((field.name, getattr(self, field.name)) for field in fields(self))
        return " ".join(
            f"{name}={value}" for name, value in chosen if value is not None and value is not False
        )

    def settings(self) -> dict[str, Any]:
        """Overrides of the sampler's configuration, by field."""
        names = ("steps", "eta", "guidance", "history")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def applied(self, model: Model) -> Model:
        """The model, changed in place."""
        model.override_sampling(self)
        return model


class LoadedWorldModel(Protocol):
    """A world model as simulation and metrics use it: a batch of lanes with a state."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a frame, pixels."""

    @property
    def frame_passes_per_frame(self) -> int:
        """Passes of the network over one frame that one new frame costs."""

    def reset(
        self,
        frames: np.ndarray,
        seeds: Sequence[int],
        *,
        past: np.ndarray | None = None,
        past_actions: np.ndarray | None = None,
    ) -> Any:
        """A `real2sim.simulation.contracts.State` of lanes that stand at start frames uint8 (b h w 3), after frames
        ``past`` (b p h w 3) and the actions (b p w) between them where there are some."""

    def step(self, state: Any, actions: np.ndarray) -> tuple[np.ndarray, Any]:
        """The next frames uint8 (b h w 3) after actions float32 (b w), and the state with them in it."""

    def override_sampling(self, sampling: SamplingOverrides) -> None:
        """Apply sampling overrides; ValueError for settings that this kind of model does not have."""


Model = TypeVar("Model", bound=LoadedWorldModel)


@runtime_checkable
class PredictsRobotState(Protocol):
    """A world model that can predict the robot's proprioceptive state as well."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """Numbers of the state that it predicts; none if this one was made without a state."""

    def reset(self, frames: np.ndarray, seeds: Sequence[int], states: np.ndarray | None = None) -> Any:
        """As for any world model, with the numbers of ``state_names`` at the start frames, float32 (b m)."""

    def robot_state(self, state: Any) -> np.ndarray:
        """The robot's state float32 (b m) in a state of the model."""


def knows_state(model: object) -> TypeGuard[PredictsRobotState]:
    """Whether a world model needs the robot's state at the start, and predicts it."""
    return isinstance(model, PredictsRobotState) and bool(model.state_names)


@runtime_checkable
class DrawsTogether(Protocol):
    """A world model that can denoise all frames at once."""

    def draw_together(self, frames: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """Frames uint8 (b t h w 3) after start frames (b h w 3), for actions (b t w)."""


def _small(folder: Path, device: str) -> LoadedWorldModel:
    from real2sim.vid2world.world_model import WorldModel

    return WorldModel.from_folder(folder).to(device)


def _released(folder: Path, device: str) -> LoadedWorldModel:
    from real2sim.vid2world.released.model import Vid2World

    return Vid2World.from_folder(folder).to(device)


LOADERS: Mapping[str, Callable[[Path, str], LoadedWorldModel]] = {MODEL: _small, RELEASED: _released}
"""Kind, as ``config.json`` says it -> what loads a folder of that kind onto a device."""
TRAININGS: Mapping[str, str] = {
    "--released": "real2sim.vid2world.training.train_released:TrainReleased",
    "": "real2sim.vid2world.training.train_small:TrainWorldModel",
}
"""Option that chooses a training of ``real2sim train world-model`` -> its configuration, whose ``run`` trains."""


def load_model(
    folder: Path, device: str = "cpu", sampling: SamplingOverrides | None = None
) -> LoadedWorldModel:
    """The world model of a folder, of any kind."""
    folder = as_path("a world model", folder)
    check_device(device)
    kind = read_kind(folder)
    if kind not in LOADERS:
        raise ValueError(
            f"{folder / CONFIG_FILE} holds a model of kind {kind!r}; expected a world model "
            f"({' or '.join(repr(known) for known in LOADERS)})"
        )
    return (sampling or SamplingOverrides()).applied(LOADERS[kind](folder, device))
