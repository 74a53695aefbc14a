"""What a policy server is shown and what its numbers mean, from its greeting, the options and the robot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from real2sim.policies.conventions import NATIVE, OWN_LAYOUT, Convention, find_convention
from real2sim.policies.observation_mapping import (
    ImageItem,
    ObservationMapping,
    StateItem,
    read_images,
    read_size,
    read_state,
)
from real2sim.policies.openpi import find_preset, preset_mapping, read_server_config
from real2sim.policies.remote_options import RemoteOptions
from real2sim.policies.servers.policy_wire import IMAGE_KEY, OBSERVATION, STATE_KEY
from real2sim.robot import Robot


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


GREETING: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "stateful": ("true or false", lambda value: isinstance(value, bool)),
    "steps": ("true or false", lambda value: isinstance(value, bool)),
    "convention": ("text", lambda value: isinstance(value, str)),
    "cameras": ("a list of names", _are_names),
    "state_names": ("a list of names", _are_names),
    "action_names": ("a list of names", _are_names),
    "state_width": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
}
"""What the values of a greeting have to be, where they are there."""


@dataclass(frozen=True)
class RemotePlan:
    """How one server is asked and understood."""

    mapping: ObservationMapping
    name: str
    """Of the convention."""
    convention: Convention
    width: int
    """Numbers per action of an answer."""
    order: tuple[int, ...] | None = None
    """Where each number of the robot's action stands in the server's; None for the same order."""
    stateful: bool = False
    """The server remembers frames: each is shown to it, and it is told when an episode begins."""
    session: bool = False
    """The server wants a ``session_id``, by which it remembers the frames that it was asked about."""
    counts: bool = False
    """The server wants to know how many actions it shall give, as ``steps``."""

    def begin(self) -> Callable[[np.ndarray], np.ndarray]:
        """Begins an episode: gives a function from each action of the server to the robot's."""
        convert, order = self.convention.begin(), self.order
        return convert if order is None else lambda action: convert(action[list(order)])


def check_known(robot: Robot, options: RemoteOptions) -> None:
    """ValueError for options of a websocket server that cannot fit the robot, whatever the server says."""
    if options.action is not None:
        raise ValueError(
            "action= names the parts of GR00T's actions (zmq://); a websocket server has one list"
        )
    for item in () if options.images is None else read_images(options.images):
        robot.camera(item.camera)


def make_plan(robot: Robot, options: RemoteOptions, greeting: Mapping[str, Any]) -> RemotePlan:
    """The plan; a ValueError says in one sentence what of the server, the options and the robot does not fit."""
    check_known(robot, options)
    check_greeting(greeting)
    config = read_server_config(greeting)
    preset = None if options.preset is None else find_preset(options.preset)
    name = f"preset {options.preset!r}"
    if config is not None:
        if options.preset not in (None, "droid"):
            raise ValueError(
                f"the server's greeting is that of a policy for DROID, and preset is {options.preset!r}"
            )
        preset, name = config.preset, "the server's greeting"
    if options.convention is not None:
        meaning = options.convention
    elif preset is not None:
        meaning = preset.convention
    else:
        meaning = str(greeting.get("convention", OWN_LAYOUT))
    convention = find_convention(meaning)
    convention.check(robot, meaning)
    theirs = options.names or _named(greeting.get("action_names"))
    order = _order(robot, meaning, theirs)
    if preset is not None:
        if meaning == OWN_LAYOUT and robot.action_width != preset.action_width:
            raise ValueError(
                f"{name} is for robots with {preset.action_width} action numbers, robot {robot.name!r} has "
                f"{robot.action_width}: {', '.join(robot.action_names)}"
            )
        cameras = () if options.images is not None else preset.cameras
        numbers = () if options.state is not None else preset.state
        mapping = preset_mapping(name, replace(preset, cameras=cameras, state=numbers), robot)
    else:
        mapping = _own_mapping(robot, greeting, options)
    mapping = _with_options(mapping, options).check(robot)
    if preset is not None:
        missing = {slot.key for slot in preset.cameras if slot.required} - {
            item.key for item in mapping.images
        }
        missing |= {key for key, _ in preset.state} - {item.key for item in mapping.state}
        if missing:
            raise ValueError(
                f"{name} needs {', '.join(sorted(missing))}, which images= and state= do not give"
            )
    wanted = {OBSERVATION + camera for camera in _named(greeting.get("cameras")) or ()}
    if not wanted <= {item.key for item in mapping.images}:
        raise ValueError(
            f"the server's policy looks at {', '.join(sorted(wanted))}; images= gives "
            f"{', '.join(item.key for item in mapping.images)}"
        )
    return RemotePlan(
        mapping,
        meaning,
        convention,
        convention.width or (len(theirs) if theirs is not None else robot.action_width),
        order,
        stateful=bool(greeting.get("stateful", False)),
        session=config is not None and config.needs_session_id,
        counts=bool(greeting.get("steps", False)),
    )


def check_greeting(greeting: Mapping[str, Any]) -> None:
    """Raises ValueError for a value that would be read as something else, or not at all."""
    for name, (what, right) in GREETING.items():
        if name in greeting and not right(greeting[name]):
            raise ValueError(
                f"the server's greeting says {name} = {str(greeting[name])[:60]!r}, expected {what}"
            )


def _own_mapping(robot: Robot, greeting: Mapping[str, Any], options: RemoteOptions) -> ObservationMapping:
    """The first camera as ``observation/image``, each of several and what the server names as ``observation/NAME``."""
    cameras = [camera.name for camera in robot.cameras]
    images = [ImageItem(cameras[0], options.image_key or IMAGE_KEY)]
    wanted = _named(greeting.get("cameras"))
    if wanted is None or options.images is not None:
        wanted = tuple(cameras) if len(cameras) > 1 else ()
    for camera in wanted:
        if camera not in cameras:
            raise ValueError(
                f"the server's policy looks at camera {camera!r}, robot {robot.name!r} has {', '.join(cameras)}; say "
                f"which it is with images=CAMERA:{OBSERVATION}{camera}"
            )
        if OBSERVATION + camera != images[0].key:
            images.append(ImageItem(camera, OBSERVATION + camera))
    if options.state is not None:
        return ObservationMapping(tuple(images))
    state: tuple[StateItem, ...] = ()
    if robot.state_from is not None:
        state = (StateItem(STATE_KEY, _state_places(robot, _named(greeting.get("state_names")))),)
    elif greeting.get("state_names") or greeting.get("state_width"):
        raise ValueError(
            f"the server's policy reads the robot's state, robot {robot.name!r} gives policies none; record the suite "
            "with its state (docs/robot.md)"
        )
    width = greeting.get("state_width")
    given = 0 if not state else len(state[0].numbers or robot.state)
    if isinstance(width, int) and width != given:
        raise ValueError(
            f"the server's policy reads {width} state numbers, robot {robot.name!r} has {given}: "
            f"{', '.join(robot.state_names)}; choose them with state={STATE_KEY}:FIRST-LAST"
        )
    return ObservationMapping(tuple(images), state)


def _with_options(mapping: ObservationMapping, options: RemoteOptions) -> ObservationMapping:
    changes: dict[str, Any] = {}
    if options.images is not None:
        changes["images"] = read_images(options.images)
    if options.state is not None:
        changes["state"] = read_state(options.state)
    if options.prompt_key is not None:
        changes["prompt_key"] = options.prompt_key
    if options.size is not None:
        changes["size"] = read_size(options.size)
    if options.layout is not None:
        changes["channels_first"] = options.layout == "chw"
    return replace(mapping, **changes)


def _named(names: Any) -> tuple[str, ...] | None:
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def _state_places(robot: Robot, wanted: Sequence[str] | None) -> tuple[int, ...] | None:
    """Where the state numbers that a server names stand in the robot's state."""
    if wanted is None or tuple(wanted) == robot.state_names:
        return None
    missing = [name for name in wanted if name not in robot.state_names]
    if missing:
        raise ValueError(
            f"the server's policy reads the state number {missing[0]!r}, robot {robot.name!r} has "
            f"{', '.join(robot.state_names)}"
        )
    return tuple(robot.state_names.index(name) for name in wanted)


def _order(robot: Robot, meaning: str, theirs: Sequence[str] | None) -> tuple[int, ...] | None:
    """Where the robot's action numbers stand in the server's, as far as these have names."""
    names = robot.action_names
    if meaning == NATIVE:
        if theirs is None:
            raise ValueError(
                f"convention {NATIVE!r} finds action numbers by name, and the server's greeting gives no "
                "'action_names'; start it with the names, or give action_names=" + ";".join(names[:2]) + ";…"
            )
        missing = [name for name in names if name not in theirs]
        if missing or len(set(theirs)) != len(theirs):
            raise ValueError(
                f"the server answers with the action numbers {', '.join(theirs)}, robot {robot.name!r} has "
                f"{', '.join(names)}"
            )
        return tuple(theirs.index(name) for name in names)
    if meaning == OWN_LAYOUT and theirs is not None and tuple(theirs) != names:
        raise ValueError(
            f"the server answers with the action numbers {', '.join(theirs)}, robot {robot.name!r} has "
            f"{', '.join(names)}; convention={NATIVE} finds them by name"
        )
    return None
