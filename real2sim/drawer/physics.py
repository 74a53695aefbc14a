"""The drawer robot in MuJoCo: the independent physics that plays the real robot in the built-in suite.

Meta-World's Sawyer arm and drawer (assets of the ``metaworld`` wheel, MIT licence) with an own thin wrapper: no code of
Meta-World runs.  The scene is recoloured so that drawer, case and handle can be told apart at 64 x 64 pixels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.actions import FIELDS
from real2sim.offscreen import import_mujoco, offscreen_renderer

IMAGE_SIZE = 64
STEP_METRES = 0.06
"""Largest displacement of the hand per step and axis."""
HORIZON = 20
TASKS = {"close_drawer": "close drawer", "open_drawer": "open drawer"}
"""Task name -> instruction."""
CLOSED_ABOVE = -0.03
"""The drawer counts as closed when its joint stands above this (0 is fully closed), in metres."""
OPEN_BELOW = -0.12
"""The drawer counts as open when its joint stands below this (-0.16 is fully open), in metres."""

HAND_LOW = np.array([-0.30, 0.38, 0.05])
HAND_HIGH = np.array([0.30, 0.90, 0.34])
WINDUP_METRES = 0.03
"""How far the commanded hand position may run ahead of the hand when something blocks it."""
MOVING_SUBSTEPS, SETTLING_SUBSTEPS, RESET_SUBSTEPS = 96, 36, 500
"""Physics steps of 2.5 ms: 0.33 s per decision (3 Hz)."""

HANDLE_OFFSET = np.array([0.0, -0.16, 0.09])
"""Bar of the closed drawer's handle, relative to the drawer body, in metres."""

JOINTS = tuple(f"right_j{index}" for index in range(7))
FINGERS = ("finger_right", "finger_left")
STATE_NAMES = (
    *JOINTS,
    *FINGERS,
    *(f"hand_{axis}" for axis in "xyz"),
    *(f"target_{axis}" for axis in "xyz"),
    "drawer_x",
    "drawer",
    *(f"{name}_velocity" for name in (*JOINTS, *FINGERS, "drawer")),
)
"""What :attr:`DrawerPhysics.state` measures: joints in radians, everything else in metres, velocities per second."""


@dataclass(frozen=True)
class DrawerStart:
    """Everything that is random about the beginning of an episode."""

    drawer_x: float
    """Sideways position of the drawer case, metres."""
    drawer: float
    """Drawer joint: 0 closed, -0.16 fully open, metres."""
    hand: tuple[float, float, float]
    """Hand position, metres."""

    def as_array(self) -> np.ndarray:
        """The five numbers (5,), metres: drawer_x, drawer, hand x, y, z."""
        return np.array([self.drawer_x, self.drawer, *self.hand])

    @staticmethod
    def from_array(values: np.ndarray) -> DrawerStart:
        """The start that ``as_array`` described."""
        drawer_x, drawer, *hand = (float(value) for value in values)
        return DrawerStart(drawer_x, drawer, (hand[0], hand[1], hand[2]))

    @staticmethod
    def draw(task: str, rng: np.random.Generator) -> DrawerStart:
        """A start of a task: an open drawer to close, a closed one to open.

        Raises ValueError for a task the robot does not know.
        """
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; the drawer robot knows {', '.join(TASKS)}")
        low, high = (-0.16, -0.08) if task == "close_drawer" else (-0.04, 0.0)
        return DrawerStart(
            drawer_x=float(rng.uniform(-0.08, 0.08)),
            drawer=float(rng.uniform(low, high)),
            hand=(
                float(rng.uniform(-0.12, 0.12)),
                float(rng.uniform(0.42, 0.54)),
                float(rng.uniform(0.10, 0.28)),
            ),
        )


@dataclass(frozen=True)
class PhysicsState:
    """Everything that decides what happens next."""

    state: np.ndarray
    drawer_x: float
    target: np.ndarray
    gripper: float


def is_success(task: str, drawer: float | np.ndarray) -> Any:
    """Whether a task is done when the drawer joint stands at ``drawer`` metres (elementwise)."""
    if task == "close_drawer":
        return np.asarray(drawer) > CLOSED_ABOVE
    if task == "open_drawer":
        return np.asarray(drawer) < OPEN_BELOW
    raise ValueError(f"unknown task {task!r}; the drawer robot knows {', '.join(TASKS)}")


class DrawerPhysics:
    """One robot.  ``reset(start)`` and ``step(action)`` give frames uint8 (64, 64, 3)."""

    def __init__(self) -> None:
        self._mujoco = mujoco = import_mujoco("the physics robot", "physics")
        self.model = mujoco.MjModel.from_xml_path(str(_assets() / "sawyer_xyz" / "sawyer_drawer.xml"))
        self.data = mujoco.MjData(self.model)
        _paint(mujoco, self.model)
        self._drawer_joint = self.model.joint("goal_slidey").qposadr[0]
        self._renderer = offscreen_renderer(self.model, 2 * IMAGE_SIZE, 2 * IMAGE_SIZE)
        self._camera = _camera(mujoco)
        self._view = mujoco.MjvOption()
        self._view.sitegroup[:] = 0
        self._state_parts = mujoco.mjtState.mjSTATE_INTEGRATION
        # The weld that pulls the hand to its target belongs to the model and to no state: set once, for good.
        self.model.eq_data[0, :] = 0
        self.model.eq_data[0, 6] = 1.0
        self.model.eq_data[0, 10] = 5.0
        self._target = np.zeros(3)
        self._gripper = -1.0

    @property
    def drawer(self) -> float:
        """Drawer joint in metres: 0 closed, -0.16 fully open."""
        return float(self.data.qpos[self._drawer_joint])

    @property
    def hand(self) -> np.ndarray:
        """Hand position (3,) in metres."""
        return self.data.body("hand").xpos.copy()

    @property
    def handle(self) -> np.ndarray:
        """Middle of the handle's bar (3,) in metres."""
        return self.model.body("drawer").pos + HANDLE_OFFSET + np.array([0.0, self.drawer, 0.0])

    @property
    def state(self) -> np.ndarray:
        """What the robot's own sensors and the drawer's measure now, float32 (27,), as ``STATE_NAMES`` says."""
        # Joints 0 to 6 are the arm's, 7 and 8 the fingers, 9 the drawer.
        positions, velocities = self.data.qpos, self.data.qvel
        drawer_x = self.model.body("drawer").pos[:1]
        parts = (positions[:9], self.hand, self._target, drawer_x, positions[9:10], velocities[:10])
        return np.concatenate(parts).astype(np.float32)

    def reset(self, start: DrawerStart) -> np.ndarray:
        """Put drawer and hand in place, let them come to rest, and look."""
        self._mujoco.mj_resetData(self.model, self.data)
        self.model.body("drawer").pos[:] = (start.drawer_x, 0.9, 0.0)
        self._target = np.clip(np.array(start.hand), HAND_LOW, HAND_HIGH)
        self._gripper = -1.0
        self.data.mocap_quat[0] = (1, 0, 1, 0)
        for _ in range(RESET_SUBSTEPS):
            self.data.qpos[self._drawer_joint] = start.drawer
            self.data.qvel[self.model.joint("goal_slidey").dofadr[0]] = 0.0
            self._substep(self._target)
        self._mujoco.mj_forward(self.model, self.data)
        return self.render()

    def step(self, action: np.ndarray) -> np.ndarray:
        """Act, and look."""
        self.act(action)
        return self.render()

    def act(self, action: np.ndarray) -> None:
        """Move the hand by ``world_vector`` metres and set the gripper (-1 open, 1 closed).

        ``action`` is the 13-number layout of :mod:`real2sim.actions`; what this robot does not have is ignored.
        """
        move = np.clip(np.asarray(action[FIELDS["world_vector"]], dtype=float), -STEP_METRES, STEP_METRES)
        self._gripper = float(np.clip(action[FIELDS["gripper_closedness_action"]][0], -1.0, 1.0))
        begin = self._target
        reachable = np.clip(begin + move, HAND_LOW, HAND_HIGH)
        self._target = reachable
        for index in range(MOVING_SUBSTEPS):
            self._substep(begin + (reachable - begin) * (index + 1) / MOVING_SUBSTEPS)
        for _ in range(SETTLING_SUBSTEPS):
            self._substep(reachable)
        # Without this clamp a blocked hand would store up commands and jump when it comes free.
        self._target = np.clip(reachable, self.hand - WINDUP_METRES, self.hand + WINDUP_METRES)

    def render(self) -> np.ndarray:
        """The camera's frame: drawn at twice the size and averaged, uint8 (64, 64, 3)."""
        self._renderer.update_scene(self.data, self._camera, self._view)
        self._renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        large = self._renderer.render().astype(np.uint16)
        blocks = large.reshape(IMAGE_SIZE, 2, IMAGE_SIZE, 2, 3).sum(axis=(1, 3))
        return ((blocks + 2) // 4).astype(np.uint8)

    @property
    def arm(self) -> tuple[str, ...]:
        """Names of the bodies that the robot moves, fingers included."""
        first, model = self.model.body("right_l0").id, self.model
        moved = [False] * model.nbody
        for body in range(1, model.nbody):
            moved[body] = body == first or moved[model.body_parentid[body]]
        return tuple(model.body(body).name for body in range(model.nbody) if moved[body])

    def shows(self, bodies: Sequence[str]) -> np.ndarray:
        """In which pixels of the camera's frame some of ``bodies`` can be seen, bool (64, 64)."""
        self._renderer.enable_segmentation_rendering()
        self._renderer.update_scene(self.data, self._camera, self._view)
        object_, kind = self._renderer.render().transpose(2, 0, 1)
        self._renderer.disable_segmentation_rendering()
        asked = [self.model.body(name).id for name in bodies]
        geom = kind == self._mujoco.mjtObj.mjOBJ_GEOM
        seen = geom & np.isin(self.model.geom_bodyid[np.where(geom, object_, 0)], asked)
        blocks: np.ndarray = seen.reshape(IMAGE_SIZE, 2, IMAGE_SIZE, 2).any(axis=(1, 3))
        return blocks

    def snapshot(self) -> PhysicsState:
        """The whole present state; ``restore`` goes on from it as if nothing had happened in between."""
        state = np.empty(self._mujoco.mj_stateSize(self.model, self._state_parts))
        self._mujoco.mj_getState(self.model, self.data, state, self._state_parts)
        return PhysicsState(
            state, float(self.model.body("drawer").pos[0]), self._target.copy(), self._gripper
        )

    def restore(self, snapshot: PhysicsState) -> None:
        """Go back to a snapshot."""
        self.model.body("drawer").pos[:] = (snapshot.drawer_x, 0.9, 0.0)
        self._mujoco.mj_setState(self.model, self.data, snapshot.state, self._state_parts)
        self._mujoco.mj_forward(self.model, self.data)
        # mj_forward has changed the solver's warm start, which belongs to the state.
        self._mujoco.mj_setState(self.model, self.data, snapshot.state, self._state_parts)
        self._target, self._gripper = snapshot.target.copy(), snapshot.gripper

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is another robot in the same state, as a renderer cannot be copied."""
        return type(self), (), self.snapshot()

    def __setstate__(self, snapshot: PhysicsState) -> None:
        self.restore(snapshot)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _substep(self, target: np.ndarray) -> None:
        self.data.mocap_pos[0] = target
        self.data.ctrl[:] = (self._gripper, -self._gripper)
        self._mujoco.mj_step(self.model, self.data)


def _assets() -> Path:
    spec = importlib.util.find_spec("metaworld")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the physics robot needs the extra 'physics': pip install 'real2sim[physics]'")
    return Path(next(iter(spec.submodule_search_locations))) / "assets"


def _paint(mujoco: Any, model: Any) -> None:
    # Shadows, reflections and multi-sampling make software rendering ten times slower.
    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = 0
    colours = {
        "drawercase": (0.25, 0.50, 0.36, 1),
        "drawer": (0.95, 0.55, 0.10, 1),
        "drawerhandle": (0.95, 0.95, 0.95, 1),
    }
    for geom in range(model.ngeom):
        mesh = model.geom_dataid[geom]
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH and model.mesh(mesh).name in colours:
            model.geom_matid[geom] = -1
            model.geom_rgba[geom] = colours[model.mesh(mesh).name]


def _camera(mujoco: Any, azimuth: float = 160, elevation: float = -42) -> Any:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = (0.0, 0.67, 0.12)
    camera.distance, camera.azimuth, camera.elevation = 0.75, azimuth, elevation
    return camera


def draw_starts(task: str, count: int, seed: Sequence[int]) -> list[DrawerStart]:
    """``count`` starts of a task from one seed sequence."""
    rng = np.random.default_rng(list(seed))
    return [DrawerStart.draw(task, rng) for _ in range(count)]
