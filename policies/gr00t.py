"""A policy behind the wire of GR00T's servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from real2sim.actions import rt1_robot
from real2sim.episodes.images import fitted
from real2sim.policies.chunks import ChunkBuffer
from real2sim.policies.conventions import OWN_LAYOUT, find_convention
from real2sim.policies.gr00t_wire import PING_SECONDS, Gr00tConnection, Modality, read_modalities
from real2sim.policies.observation_mapping import ImageItem, StateItem, read_images, read_size, read_state
from real2sim.policies.policy import Observation, observed_frames
from real2sim.policies.remote import kept
from real2sim.policies.remote_options import RemoteOptions, read_address
from real2sim.policies.server_answers import as_array, check_chunk
from real2sim.robot import Robot
from real2sim.wording import without_password

UNUSED = ("preset", "image_key", "prompt_key", "layout", "action_names")
"""Options of websocket servers."""


@dataclass(frozen=True)
class Gr00tPlan:
    """How the robot's cameras, state and action stand to the server's modalities."""

    modalities: Mapping[str, Modality]
    images: tuple[ImageItem, ...]
    state: tuple[StateItem, ...]
    action: tuple[StateItem, ...]
    size: tuple[int, int] | None
    back: Mapping[str, tuple[int, ...]]
    """For video and state: how many frames ago each of the steps was."""

    def observation(self, seen: Sequence[Observation], instruction: str) -> dict[str, Any]:
        """What the server is sent for one lane, whose frames so far end with the newest; the first one stands for
        those before it."""
        pictures = {
            item.key: np.stack(
                [self._picture(seen[max(0, len(seen) - 1 - ago)], item.camera) for ago in self.back["video"]]
            )[None]
            for item in self.images
        }
        state = {}
        for item in self.state:
            rows = [_state(seen[max(0, len(seen) - 1 - ago)], item) for ago in self.back["state"]]
            state[item.key] = np.stack(rows)[None]
        language = {key: [[instruction]] for key in self.modalities["language"].keys}
        return {"video": pictures, "state": state, "language": language}

    def _picture(self, seen: Observation, camera: str) -> np.ndarray:
        frame = seen.images[camera][0]
        return frame if self.size is None else fitted(frame, self.size)


@dataclass
class _Lane:
    instruction: str
    seen: list[Observation] = field(default_factory=list)
    convert: Callable[[np.ndarray], np.ndarray] | None = None


class Gr00tPolicy:
    """Asks a GR00T policy server for actions: ``zmq://host:port``, port 5555 as GR00T starts it.

    The server's ``get_modality_config`` names videos, states and actions.  A camera is shown under its own name, or as
    the only one; otherwise ``images=front:KEY;wrist:KEY`` says it.  One state or action key has all numbers, a second
    one called gripper the gripper's; otherwise ``state=KEY:0-4;KEY:5`` and ``action=KEY:0-4;KEY:5`` name the places.
    Of an answer's actions the first ``execute`` are executed, as with `RemotePolicy`.  The wire has no seeds: a
    policy that draws noise cannot be repeated.

    A server that is not there is looked for for ``patience`` seconds, an answer that does not come ``answer_within``
    seconds is asked for once more; then a ConnectionError says what happened.  A malformed answer is a ValueError.
    """

    def __init__(self, address: str, robot: Robot | None = None, **options: Any) -> None:
        self.address, written = read_address(address)
        self.options = RemoteOptions(**(options | written))
        given = [name for name in UNUSED if getattr(self.options, name) is not None]
        if given:
            raise ValueError(
                f"{without_password(address)!r}: {given[0]} is an option of websocket servers, not of GR00T's"
            )
        self._robot = robot or rt1_robot()
        per_frame, execute = self._robot.actions_per_frame, self.options.execute
        self._execute = per_frame if execute == "frame" else execute
        self._convention = find_convention(self.options.convention or OWN_LAYOUT)
        self._convention.check(self._robot, self.options.convention or OWN_LAYOUT)
        self._connection = Gr00tConnection(self.address, self.options.answer_within)
        self._plan: Gr00tPlan | None = None
        self._lanes: list[_Lane] = []
        self._chunks = ChunkBuffer(0, per_frame, self._execute)
        self._begun = False

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin one episode per instruction; the server is told before it is asked for the first action."""
        self._lanes = [_Lane(text) for text in instructions]
        self._chunks = ChunkBuffer(len(self._lanes), self._robot.actions_per_frame, self._execute)
        self._begun = False

    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes K n), or (lanes n) where K is 1."""
        observed_frames(observation, len(self._lanes))
        actions = np.stack([self._act(index, lane, observation) for index, lane in enumerate(self._lanes)])
        if self.options.outside == "clip":
            actions = np.clip(actions, self._robot.low, self._robot.high)
        return self._robot.recorded(actions.astype(np.float32))

    def given(self, observation: Observation) -> dict[str, Any]:
        """What the server is sent for the first lane of an observation at the beginning of an episode."""
        one = observation.lane(0)
        return self._ready("").observation([one], one.instructions[0])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _act(self, index: int, lane: _Lane, observation: Observation) -> np.ndarray:
        lane.seen.append(kept(self._robot, observation, index))
        if index in self._chunks.needs():
            where = f", lane {index}, step {len(lane.seen) - 1}"
            plan = self._ready(where)
            if not self._begun:
                self._patiently(where, lambda: self._connection.ask("reset", {"options": None}))
                self._begun = True
            data = {"observation": plan.observation(lane.seen, lane.instruction), "options": None}
            chunk = self._patiently(
                where, lambda: self._chunk(plan, self._connection.ask("get_action", data))
            )
            try:
                self._chunks.put(index, chunk)
            except ValueError as error:
                raise ValueError(f"policy server {self.address}{where}: {error}") from error
        if lane.convert is None:
            lane.convert = self._convention.begin()
        return np.stack([lane.convert(action) for action in self._chunks.take(index)])

    def _ready(self, where: str) -> Gr00tPlan:
        """The plan, made from the server's modalities when it is first needed."""
        if self._plan is None:
            look = min(PING_SECONDS, self.options.answer_within)
            self._patiently(where, lambda: self._connection.ask("ping", within=look), slow=None)
            said = self._patiently(
                where, lambda: read_modalities(self._connection.ask("get_modality_config"))
            )
            try:
                self._plan = make_plan(self._robot, self.options, said)
            except ValueError as error:
                raise ValueError(f"policy server {self.address}: {error}") from error
        return self._plan

    def _patiently(self, where: str, ask: Callable[[], Any], slow: int | None = 1) -> Any:
        """What ``ask`` gives; asked again up to ``slow`` times after no answer, without end for None, in time."""
        began, missed = time.monotonic(), 0
        while True:
            try:
                return ask()
            except OSError as error:
                missed += 1
                over = time.monotonic() - began > self.options.patience
                if (slow is not None and missed > slow) or (slow is None and over):
                    raise ConnectionError(
                        f"policy server {self.address}{where}: {error}; finished episodes are kept, start the server "
                        "and give the same command again"
                    ) from error
            except ValueError as error:
                raise ValueError(f"policy server {self.address}{where}: {error}") from error

    def _chunk(self, plan: Gr00tPlan, answer: Any) -> np.ndarray:
        """Actions (t n) of ``[action map, info]``."""
        if isinstance(answer, list | tuple) and len(answer) == 2:
            answer = answer[0]
        if not isinstance(answer, dict):
            raise ValueError(f"get_action answers a {type(answer).__name__}, expected [actions, info]")
        parts = {str(key).removeprefix("action."): value for key, value in answer.items()}
        width = self._convention.width or self._robot.action_width
        columns: list[np.ndarray] = []
        chunk: np.ndarray | None = None
        for item in plan.action:
            if item.key not in parts:
                raise ValueError(f"the answer has no action {item.key!r} but {', '.join(parts) or 'nothing'}")
            values = as_array(parts[item.key], f"action {item.key!r} is")
            if values.ndim == 2:
                values = values[None]
            last = values.shape[-1] if values.ndim else 0
            count = last if item.numbers is None else len(item.numbers)
            if values.ndim != 3 or values.shape[0] != 1 or not values.shape[1] or values.shape[2] != count:
                raise ValueError(
                    f"action {item.key!r} has shape {values.shape}, expected (1, steps, {count})"
                )
            values = check_chunk(values[0], count, item.key)
            if columns and len(columns[0]) != len(values):
                raise ValueError(
                    f"action {item.key!r} has {len(values)} steps, the one before it {len(columns[0])}"
                )
            columns.append(values)
            if item.numbers is not None:
                chunk = np.zeros((len(values), width), np.float32) if chunk is None else chunk
                chunk[:, list(item.numbers)] = values
        return check_chunk(np.concatenate(columns, axis=1) if chunk is None else chunk, width, "of GR00T")


def make_plan(robot: Robot, options: RemoteOptions, modalities: Mapping[str, Modality]) -> Gr00tPlan:
    """The plan; a ValueError says in one sentence what does not fit."""
    video, language = modalities["video"], modalities["language"]
    state = modalities.get("state", Modality((), (0,)))
    images = _images(robot, options, video.keys)
    names = [number.name for number in robot.state]
    if state.keys and robot.state_from is None:
        raise ValueError(
            f"the policy reads the state {', '.join(state.keys)}, robot {robot.name!r} gives policies none; record the "
            "suite with its state (docs/robot.md)"
        )
    states = _parts("state", state.keys, names, options.state, "state=single_arm:0-4;gripper:5")
    convention = find_convention(options.convention or OWN_LAYOUT)
    if convention.width is not None and options.action is None:
        actions = tuple(StateItem(key) for key in modalities["action"].keys)
    else:
        actions = _parts(
            "action",
            modalities["action"].keys,
            robot.action_names,
            options.action,
            "action=single_arm:0-4;gripper:5",
        )
    back = {
        "video": _frames_ago("video", video.steps, robot),
        "state": _frames_ago("state", state.steps, robot),
    }
    size = None if options.size is None else read_size(options.size)
    assert language.keys
    return Gr00tPlan(modalities, images, states, actions, size, back)


def _images(robot: Robot, options: RemoteOptions, keys: Sequence[str]) -> tuple[ImageItem, ...]:
    cameras = [camera.name for camera in robot.cameras]
    if options.images is not None:
        items = read_images(options.images)
        for item in items:
            robot.camera(item.camera)
        if {item.key for item in items} != set(keys):
            raise ValueError(
                f"the policy looks at {', '.join(keys)}, images= gives {', '.join(item.key for item in items)}"
            )
        return items
    if len(keys) == 1 and len(cameras) == 1:
        return (ImageItem(cameras[0], keys[0]),)
    missing = [key for key in keys if key not in cameras]
    if missing:
        raise ValueError(
            f"the policy looks at {missing[0]!r}, robot {robot.name!r} has the cameras {', '.join(cameras)}; say which "
            f"it is with images=CAMERA:{missing[0]}"
        )
    return tuple(ImageItem(key, key) for key in keys)


def _parts(
    what: str, keys: Sequence[str], names: Sequence[str], written: str | None, example: str
) -> tuple[StateItem, ...]:
    """Which of the robot's numbers belong to each key."""
    everything = range(len(names))
    if written is not None:
        items = tuple(
            StateItem(item.key, tuple(everything) if item.numbers is None else item.numbers)
            for item in read_state(written)
        )
        places = [place for item in items for place in item.numbers or ()]
        if {item.key for item in items} != set(keys):
            raise ValueError(
                f"the policy has the {what} keys {', '.join(keys)}; give all of them, e.g. {example}"
            )
        beyond = [place for place in places if place >= len(names)]
        if beyond or (what == "action" and sorted(places) != list(everything)):
            raise ValueError(
                f"{what}= names the places {', '.join(map(str, places))}; the robot has {len(names)} numbers: "
                f"{', '.join(names)}"
            )
        return items
    grip = [place for place in everything if "gripper" in names[place].lower()]
    if len(keys) == 1:
        return (StateItem(keys[0], tuple(everything)),)
    if len(keys) == 2 and len(grip) == 1 and sum("gripper" in key.lower() for key in keys) == 1:
        rest = tuple(place for place in everything if place not in grip)
        return tuple(StateItem(key, tuple(grip) if "gripper" in key.lower() else rest) for key in keys)
    if not keys:
        return ()
    raise ValueError(
        f"the policy has the {what} keys {', '.join(keys)}, and which of the robot's numbers ({', '.join(names)}) "
        f"belong to each is not known; say it, e.g. {example}"
    )


def _frames_ago(what: str, steps: Sequence[int], robot: Robot) -> tuple[int, ...]:
    """How many frames ago each of some control steps was."""
    per_frame = robot.actions_per_frame
    if not steps or max(steps) > 0 or any(step % per_frame for step in steps):
        raise ValueError(
            f"the policy looks at {what} of the control steps {', '.join(map(str, steps))}; there is one frame per "
            f"{per_frame} steps, and none of the future"
        )
    return tuple(-step // per_frame for step in steps)


def _state(seen: Observation, item: StateItem) -> np.ndarray:
    if seen.state is None:
        raise ValueError(f"there is no state for {item.key!r}; the suite and its world must give one")
    numbers: np.ndarray = seen.state[0].astype(np.float32)[list(item.numbers or ())]
    return numbers
