"""From a name to a world: a learned world model, or physics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np

from real2sim.built_in import PHYSICS
from real2sim.checks import expanded
from real2sim.model_folder import folder_fingerprint
from real2sim.robot import Robot
from real2sim.simulation.contracts import World
from real2sim.simulation.suite import SUITE_FILE, Start, Suite
from real2sim.vid2world.load import MODEL, LoadedWorldModel, SamplingOverrides, knows_state, load_model
from real2sim.vid2world.model_robot import check_model_robot

PHYSICS_WORLD = "mujoco"


class ModelWorld:
    """A learned world model as a world."""

    name = MODEL

    def __init__(self, model: LoadedWorldModel, robot: Robot) -> None:
        self._model, self._robot = model, robot

    @property
    def frame_passes_per_frame(self) -> int:
        """Passes of the network over one frame that one new frame costs."""
        return self._model.frame_passes_per_frame

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> Any:
        """A state that stands at the start frames."""
        frames, numbers = np.stack([start.frame for start in starts]), [int(seed) for seed in seeds]
        if any(start.past is not None for start in starts):
            return self._model.reset(frames, numbers, **self._past(starts))
        if not knows_state(self._model):
            return self._model.reset(frames, numbers)
        states = [self._start_state(start, self._model.state_names) for start in starts]
        return self._model.reset(frames, numbers, np.stack(states))

    def _past(self, starts: Sequence[Start]) -> dict[str, np.ndarray]:
        """Frames before the starts and what the model is given as the actions between them."""
        if knows_state(self._model):
            raise ValueError(
                "this world model needs the robot's state at every frame, and a suite's past frames have none; use "
                "starts without past frames, or a world model without state"
            )
        past, actions = [], []
        for start in starts:
            if (
                start.past is None
                or start.past_actions is None
                or len(start.past) != len(_past_frames(starts[0]))
            ):
                raise ValueError(
                    f"start {start.id!r} has another number of past frames than {starts[0].id!r}; starts that are "
                    "drawn together need the same number"
                )
            given = start.past_actions.reshape(len(start.past), self._robot.actions_per_frame, -1)
            past.append(start.past)
            actions.append(self._robot.world_actions(given))
        return {"past": np.stack(past), "past_actions": np.stack(actions).astype(np.float32)}

    def _start_state(self, start: Start, names: Sequence[str]) -> np.ndarray:
        """The numbers that the model asks for at a start, by name (m,)."""
        known = dict(start.measured)
        if start.robot_state is not None:
            known |= dict(zip(self._robot.state_names, map(float, start.robot_state), strict=True))
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(
                f"this world model needs the robot's state at the start frame, and start {start.id!r} has no "
                f"{missing[0]!r}; record the states of the suite's starts, or use a world model without one"
            )
        return np.array([known[name] for name in names], np.float32)

    def step(self, state: Any, actions: np.ndarray) -> tuple[np.ndarray, Any]:
        """Next canvases uint8 (b h w 3) and state, after the K actions of a frame (b K n)."""
        return self._model.step(state, self._robot.world_actions(actions))

    def robot_state(self, state: Any) -> np.ndarray | None:
        """What the model predicts of the robot's state, where the robot's state comes from the model."""
        if self._robot.state_from != "model":
            return None
        assert knows_state(self._model)
        names = list(self._model.state_names)
        return self._model.robot_state(state)[:, [names.index(name) for name in self._robot.state_names]]

    def outcomes(self, state: Any) -> None:
        """None: a judge decides the outcomes of a world model."""
        return None


def _past_frames(start: Start) -> np.ndarray:
    return np.empty(0) if start.past is None else start.past


def open_world(
    name: str, suite: Suite, device: str = "cpu", sampling: SamplingOverrides | None = None
) -> World:
    """The suite's own world model (``"world_model"``), a world model in a folder, or ``"mujoco"``."""
    if name == PHYSICS_WORLD:
        return open_physics(suite)
    check_world(name, suite)
    folder = model_folder(name, suite)
    model = load_model(folder, device, sampling)
    if model.image_size != suite.robot.canvas_size:
        (height, width), (rows, columns) = model.image_size, suite.robot.canvas_size
        raise ValueError(
            f"the world model in {folder} draws frames of {height} x {width} pixels, suite {suite.name!r} has "
            f"{rows} x {columns}; was it trained on another camera?"
        )
    if suite.robot.state_from == "model" and not knows_state(model):
        raise ValueError(
            f"the world model in {folder} predicts no robot state, which suite {suite.name!r} needs "
            f"({', '.join(suite.robot.state_names)}); train it on a dataset with the robot's state"
        )
    return ModelWorld(model, suite.robot)


def open_physics(suite: Suite) -> World:
    """The physics that ``suite`` names."""
    name = suite.config.physics or suite.name
    if name not in PHYSICS:
        raise ValueError(
            f"suite {suite.name!r} has no physics (its {SUITE_FILE} names {suite.config.physics!r}); known are "
            f"{', '.join(PHYSICS)}, so use a world model"
        )
    world: World = resolve_name(PHYSICS[name])()
    return world


def check_world(name: str, suite: Suite) -> None:
    """Raise a ValueError that names both sides unless a world fits the suite's robot; no weights are read."""
    if name != PHYSICS_WORLD:
        check_model_robot(model_folder(name, suite), suite.robot, f"suite {suite.name!r}")


def state_source(name: str, suite: Suite) -> str | None:
    """Where policies get the robot's state from in a world: ``action``, ``model``, physics, or None for no state."""
    source = suite.robot.state_from
    return PHYSICS_WORLD if source is not None and name == PHYSICS_WORLD else source


def model_folder(name: str, suite: Suite) -> Path:
    """Folder of a world model."""
    folder = suite.folder / MODEL if name == MODEL else expanded(name)
    if not folder.is_dir():
        physics = "" if suite.config.physics is None else f", or use --world {PHYSICS_WORLD}"
        raise FileNotFoundError(
            f"there is no world model in {folder}; give the folder of one (--world, or world_model of an environment), "
            f"train one with `real2sim train world-model`{physics}"
        )
    return folder


def world_fingerprint(name: str, suite: Suite, sampling: SamplingOverrides | None = None) -> str:
    """Identity of a world; rows of different worlds must not be mixed in one run."""
    if name == PHYSICS_WORLD:
        return PHYSICS_WORLD
    return (
        f"{MODEL} {folder_fingerprint(model_folder(name, suite))} {sampling or SamplingOverrides()}".rstrip()
    )
