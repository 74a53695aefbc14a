"""The SO-101 in MuJoCo: the independent physics that plays the real robot in the SO-101 suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from real2sim.offscreen import import_mujoco, offscreen_renderer
from real2sim.so101.scene import (
    BLOCK,
    CAMERAS,
    JOINTS,
    SUBSTEPS,
    TRAY,
    TRAY_HALF,
    build_model,
)

IMAGE_SIZE = 64
"""Height and width of each camera in the suite, pixels."""
DRAWN_SIZE = 128
"""Height and width at which the cameras are drawn and recorded, pixels."""
ACTIONS_PER_FRAME = 5
HORIZON = 24
"""Frames of an episode after the first: 8 s."""
NUMBERS = tuple(f"{joint}.pos" for joint in JOINTS)
"""Names of the action's and the state's numbers: degrees, the gripper in percent of its range, as LeRobot records."""
UNITS = ("deg",) * 5 + ("percent",)
BLOCK_NAMES = ("block.x", "block.y", "block.z", "block.yaw")
"""Where the block is: metres and degrees."""
TIP_NAMES = ("tool.x", "tool.y", "tool.z", "jaw.x", "jaw.y", "jaw.z")
"""Where the joints put the point between the jaws' tips and the tip of the moving jaw: metres."""
TASKS = {"push_block": "push the block into the tray", "lift_block": "lift the block"}
"""Task name -> instruction."""
LIFTED_ABOVE = 0.055
"""The block counts as lifted when its middle is higher than this, metres; on the table it is at 0.016."""
REST_SUBSTEPS = 240


@dataclass(frozen=True)
class SO101Start:
    """Everything that is random about the beginning of an episode."""

    joints: tuple[float, ...]
    """Commanded joints: degrees, the gripper in percent."""
    block: tuple[float, float, float]
    """Block on the table: x and y in metres, rotation about the vertical in degrees."""

    @staticmethod
    def from_array(values: np.ndarray) -> SO101Start:
        """The start at which a recording begins: its joints (6,), its block (4,), and the tips, which follow."""
        numbers = tuple(float(value) for value in values)
        known = len(NUMBERS) + len(BLOCK_NAMES)
        if len(numbers) not in (known, known + len(TIP_NAMES)):
            raise ValueError(
                "a start of the SO-101 has 16 numbers (6 joints, block x, y, z and yaw, 6 of the jaws' tips) or the "
                f"first 10 of them, got {len(numbers)}"
            )
        return SO101Start(numbers[:6], (numbers[6], numbers[7], numbers[9]))

    @staticmethod
    def draw(rng: np.random.Generator) -> SO101Start:
        """Arm near its resting pose above the table, block in front of it and beside the tray."""
        middle = np.array([-8.0, -30.0, 25.0, 75.0, 0.0, 30.0])
        spread = np.array([14.0, 8.0, 8.0, 10.0, 20.0, 20.0])
        joints = middle + spread * rng.uniform(-1.0, 1.0, 6)
        block = (rng.uniform(0.185, 0.255), rng.uniform(-0.09, 0.01), rng.uniform(-40.0, 40.0))
        return SO101Start(tuple(map(float, joints)), (float(block[0]), float(block[1]), float(block[2])))


@dataclass(frozen=True)
class SO101State:
    """Everything that decides what happens next."""

    state: np.ndarray
    """MuJoCo's integration state; the commanded joints are in it."""


def is_success(task: str, block: np.ndarray) -> Any:
    """Whether a task is done when the block is at ``block`` (... 4: x, y, z in metres, yaw), elementwise."""
    x, y, z = (np.asarray(block)[..., place] for place in range(3))
    if task == "lift_block":
        return z > LIFTED_ABOVE
    if task == "push_block":
        inside = (np.abs(x - TRAY[0]) < TRAY_HALF[0]) & (np.abs(y - TRAY[1]) < TRAY_HALF[1])
        return inside & (z < 1.5 * BLOCK)
    raise ValueError(f"unknown task {task!r}; the SO-101 knows {', '.join(TASKS)}")


class SO101Physics:
    """One robot.  Commands are absolute joint targets (6,): degrees, the gripper in percent, 15 per second."""

    def __init__(self) -> None:
        self._mujoco = mujoco = import_mujoco("the SO-101 in physics", "so101")
        self.model = build_model(mujoco)
        self.data = mujoco.MjData(self.model)
        joints = [self.model.joint(name) for name in JOINTS]
        self.places = np.array([joint.qposadr[0] for joint in joints])
        self._low, self._high = (np.array([joint.range[end] for joint in joints]) for end in (0, 1))
        self._block = int(self.model.joint("block").qposadr[0])
        self._renderer: Any = None
        self._state_parts = mujoco.mjtState.mjSTATE_INTEGRATION

    @property
    def low(self) -> np.ndarray:
        """Smallest joint targets (6,) in degrees and percent."""
        return self.from_radians(self._low)

    @property
    def high(self) -> np.ndarray:
        """Largest joint targets (6,) in degrees and percent."""
        return self.from_radians(self._high)

    @property
    def state(self) -> np.ndarray:
        """Measured joints, float32 (6,) in degrees and percent."""
        return self.from_radians(self.data.qpos[self.places]).astype(np.float32)

    @property
    def block(self) -> np.ndarray:
        """Where the block is, float32 (4,), as ``BLOCK_NAMES`` says."""
        x, y, z, a, b, c, d = self.data.qpos[self._block : self._block + 7]
        yaw = np.degrees(np.arctan2(2 * (a * d + b * c), 1 - 2 * (c * c + d * d)))
        return np.array([x, y, z, yaw], np.float32)

    @property
    def tool(self) -> np.ndarray:
        """The point between the tips of the jaws (3,), metres."""
        return self.data.site("tool").xpos.copy()

    @property
    def tips(self) -> np.ndarray:
        """Where tool and moving jaw are, float32 (6,), as ``TIP_NAMES`` says."""
        return np.concatenate([self.data.site(name).xpos for name in ("tool", "jaw")]).astype(np.float32)

    def reset(self, start: SO101Start) -> None:
        """Put arm and block in place and let them come to rest."""
        mujoco, data = self._mujoco, self.data
        mujoco.mj_resetData(self.model, data)
        target = np.clip(self.to_radians(np.array(start.joints)), self._low, self._high)
        data.qpos[self.places] = target
        data.ctrl[:] = target
        x, y, yaw = start.block
        half = np.radians(yaw) / 2
        data.qpos[self._block : self._block + 7] = (x, y, BLOCK, np.cos(half), 0, 0, np.sin(half))
        for _ in range(REST_SUBSTEPS):
            mujoco.mj_step(self.model, data)
        mujoco.mj_forward(self.model, data)

    def act(self, target: np.ndarray) -> None:
        """Command joint targets (6,) for a fifteenth of a second."""
        wanted = self.to_radians(np.asarray(target, float))
        self.data.ctrl[:] = np.clip(wanted, self._low, self._high)
        for _ in range(SUBSTEPS):
            self._mujoco.mj_step(self.model, self.data)
        # Positions of links and sites belong to the moment before the last step otherwise.
        self._mujoco.mj_kinematics(self.model, self.data)

    def render(self, size: int = DRAWN_SIZE) -> dict[str, np.ndarray]:
        """Each camera's frame, uint8 (size size 3); smaller than ``DRAWN_SIZE`` they are averaged."""
        if self._renderer is None:
            self._renderer = offscreen_renderer(self.model, DRAWN_SIZE, DRAWN_SIZE)
        factor = DRAWN_SIZE // size
        frames = {}
        for camera in CAMERAS:
            self._renderer.update_scene(self.data, camera)
            for flag in (self._mujoco.mjtRndFlag.mjRND_SHADOW, self._mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._renderer.scene.flags[flag] = 0
            drawn = self._renderer.render()
            if factor > 1:
                blocks = drawn.reshape(size, factor, size, factor, 3).astype(np.uint16).sum(axis=(1, 3))
                drawn = ((blocks + factor**2 // 2) // factor**2).astype(np.uint8)
            frames[camera] = drawn.copy()
        return frames

    def snapshot(self) -> SO101State:
        """The whole present state; ``restore`` goes on from it as if nothing had happened in between."""
        state = np.empty(self._mujoco.mj_stateSize(self.model, self._state_parts))
        self._mujoco.mj_getState(self.model, self.data, state, self._state_parts)
        return SO101State(state)

    def restore(self, snapshot: SO101State) -> None:
        """Go back to a snapshot."""
        self._mujoco.mj_setState(self.model, self.data, snapshot.state, self._state_parts)
        self._mujoco.mj_forward(self.model, self.data)
        # mj_forward has changed the solver's warm start, which belongs to the state.
        self._mujoco.mj_setState(self.model, self.data, snapshot.state, self._state_parts)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is another robot in the same state, as a renderer cannot be copied."""
        return type(self), (), self.snapshot()

    def __setstate__(self, snapshot: SO101State) -> None:
        self.restore(snapshot)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def from_radians(self, radians: np.ndarray) -> np.ndarray:
        """Joints (6,) in degrees, the gripper in percent of its range."""
        numbers = np.degrees(radians)
        low, high = self._low[5], self._high[5]
        numbers[..., 5] = 100 * (radians[..., 5] - low) / (high - low)
        return numbers

    def to_radians(self, numbers: np.ndarray) -> np.ndarray:
        """Joints (6,) in radians."""
        radians = np.radians(numbers)
        low, high = self._low[5], self._high[5]
        radians[..., 5] = low + numbers[..., 5] / 100 * (high - low)
        return radians
