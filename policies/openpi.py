"""What openpi's policies of DROID, LIBERO and ALOHA want to be shown, and what RoboArena's servers say they want.

The names are those that openpi's input transforms index (Physical-Intelligence/openpi, commit 15a9616); a missing one
is a KeyError there.  RoboArena's servers send a ``PolicyServerConfig`` as their greeting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from real2sim.policies.observation_mapping import (
    EXAMPLE,
    ImageItem,
    ObservationMapping,
    StateItem,
)
from real2sim.robot import Robot


@dataclass(frozen=True)
class CameraSlot:
    """A camera that a policy looks at."""

    key: str
    names: tuple[str, ...]
    """Cameras of datasets that it stands for."""
    wrist: bool = False
    required: bool = True


@dataclass(frozen=True)
class Preset:
    """What the policies of one robot want to be shown, and what they answer."""

    cameras: tuple[CameraSlot, ...]
    state: tuple[tuple[str, int], ...]
    """Names and counts of state numbers."""
    action_width: int
    convention: str
    size: tuple[int, int] | None = (224, 224)
    channels_first: bool = False


EXTERIOR = (
    CameraSlot("observation/exterior_image_1_left", ("exterior_image_1_left", "exterior_1_left")),
    CameraSlot("observation/exterior_image_2_left", ("exterior_image_2_left", "exterior_2_left")),
)
WRIST = CameraSlot("observation/wrist_image_left", ("wrist_image_left", "wrist_left"), wrist=True)
JOINTS, GRIPPER = ("observation/joint_position", 7), ("observation/gripper_position", 1)
PRESETS: Mapping[str, Preset] = {
    "droid": Preset((EXTERIOR[0], WRIST), (JOINTS, GRIPPER), 8, "droid-joint-velocity"),
    "libero": Preset(
        (
            CameraSlot("observation/image", ("image",)),
            CameraSlot("observation/wrist_image", ("wrist_image",), wrist=True),
        ),
        (("observation/state", 8),),
        7,
        "real2sim",
    ),
    "aloha": Preset(
        (
            CameraSlot("images[cam_high]", ("cam_high",)),
            CameraSlot("images[cam_low]", ("cam_low",), required=False),
            CameraSlot("images[cam_left_wrist]", ("cam_left_wrist",), wrist=True, required=False),
            CameraSlot("images[cam_right_wrist]", ("cam_right_wrist",), wrist=True, required=False),
        ),
        (("state", 14),),
        14,
        "real2sim",
        channels_first=True,
    ),
}
"""By the names that ``#preset=`` takes."""


def find_preset(name: str) -> Preset:
    """The preset of that name; a ValueError lists those that exist."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class ServerConfig:
    """What a RoboArena server says in its greeting."""

    image_resolution: tuple[int, int] | None
    needs_wrist_camera: bool
    n_external_cameras: int
    needs_session_id: bool
    action_space: str

    @property
    def preset(self) -> Preset:
        """DROID's, with the cameras, the size and the actions that the server names."""
        cameras = EXTERIOR[: self.n_external_cameras] + ((WRIST,) if self.needs_wrist_camera else ())
        convention = "droid-" + self.action_space.replace("_", "-")
        return Preset(cameras, (JOINTS, GRIPPER), 8, convention, self.image_resolution)


def read_server_config(greeting: Mapping[str, Any]) -> ServerConfig | None:
    """What a RoboArena server wants; None for the greeting of another one.

    Raises ValueError, in one sentence, for what a rollout cannot give: stereo cameras, more than two external cameras,
    an action space other than joint positions and velocities.
    """
    if "action_space" not in greeting or not {"needs_wrist_camera", "n_external_cameras"} & set(greeting):
        return None
    space, count = greeting["action_space"], greeting.get("n_external_cameras", 1)
    if space not in ("joint_position", "joint_velocity"):
        raise ValueError(
            f"the server answers in the action space {str(space)[:60]!r}, which needs the robot's kinematics; expected "
            "joint_position or joint_velocity"
        )
    if greeting.get("needs_stereo_camera", False):
        raise ValueError(
            "the server wants stereo cameras, which suites do not have; serve a policy without them"
        )
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 2:
        raise ValueError(f"the server wants {str(count)[:60]} external cameras; expected 0, 1 or 2")
    size = greeting.get("image_resolution")
    if size is not None and not _is_size(size):
        raise ValueError(
            f"the server's image_resolution is {str(size)[:60]}; expected a height and a width from 1 to 4096, or null"
        )
    return ServerConfig(
        None if size is None else (int(size[0]), int(size[1])),
        bool(greeting.get("needs_wrist_camera", True)),
        count,
        bool(greeting.get("needs_session_id", False)),
        space,
    )


def preset_mapping(name: str, preset: Preset, robot: Robot) -> ObservationMapping:
    """How a robot is shown to the policies of a preset; a ValueError says in one sentence what does not fit."""
    return ObservationMapping(
        _cameras(name, preset, robot),
        _state(name, preset, robot),
        size=preset.size,
        channels_first=preset.channels_first,
    )


def _cameras(name: str, preset: Preset, robot: Robot) -> tuple[ImageItem, ...]:
    """The robot's cameras for a preset's: by name, or the only one of its kind (at the wrist or not)."""
    there = [camera.name for camera in robot.cameras]
    known = {slot: next((item for item in slot.names if item in there), None) for slot in preset.cameras}
    for slot in preset.cameras:
        if known[slot] is None and slot.required:
            free = [
                item
                for item in there
                if item not in known.values() and ("wrist" in item.lower()) == slot.wrist
            ]
            known[slot] = free[0] if len(free) == 1 else None
        if known[slot] is None and slot.required:
            raise ValueError(
                f"{name} needs a camera for {slot.key!r}, and none of robot {robot.name!r} ({', '.join(there)}) is "
                f"known to be it; say which with images=, e.g. {EXAMPLE}"
            )
    return tuple(ImageItem(camera, slot.key) for slot, camera in known.items() if camera is not None)


def _state(name: str, preset: Preset, robot: Robot) -> tuple[StateItem, ...]:
    names = robot.state_names
    if not preset.state:
        return ()
    if robot.state_from is None:
        raise ValueError(
            f"{name} needs the robot's state ({', '.join(key for key, _ in preset.state)}), robot {robot.name!r} gives "
            "policies none; record the suite with its state (docs/robot.md)"
        )
    wanted = sum(count for _, count in preset.state)
    if len(preset.state) == 1:
        if len(names) != wanted:
            raise ValueError(
                f"{name} needs {wanted} state numbers as {preset.state[0][0]!r}, robot {robot.name!r} has "
                f"{len(names)}: {', '.join(names)}; choose some with state=, e.g. {EXAMPLE}"
            )
        return (StateItem(preset.state[0][0]),)
    grippers = [place for place, item in enumerate(names) if "gripper" in item.lower()]
    joints = [place for place, item in enumerate(names) if "joint" in item.lower() and place not in grippers]
    if len(grippers) != 1 or len(joints) != 7:
        raise ValueError(
            f"{name} needs 7 joint positions and 1 gripper position, the state of robot {robot.name!r} is "
            f"{', '.join(names)}; choose them with state=, e.g. "
            "state=observation/joint_position:0-6;observation/gripper_position:7"
        )
    degrees = [names[place] for place in joints if robot.state[place].unit == "deg"]
    if degrees:
        raise ValueError(
            f"{name} needs joint positions in radians, {degrees[0]!r} of robot {robot.name!r} is in degrees"
        )
    return StateItem(JOINTS[0], tuple(joints)), StateItem(GRIPPER[0], tuple(grippers))


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= 4096 for side in size)
    )
