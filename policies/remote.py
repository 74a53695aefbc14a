"""A policy in another process or on another machine, behind the wire that openpi's policy servers speak."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np

from real2sim.actions import rt1_robot
from real2sim.checks import check_finite, check_whole
from real2sim.policies.chunks import ChunkBuffer
from real2sim.policies.conventions import OWN_LAYOUT, find_convention
from real2sim.policies.policy import Observation, check_frames
from real2sim.policies.servers.policy_wire import (
    IMAGE_KEY,
    MOST_BYTES,
    OBSERVATION,
    PROMPT_KEY,
    STATE_KEY,
    pack_message,
    unpack_message,
)
from real2sim.robot import Robot

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

READERS: dict[str, Callable[[str], Any]] = {
    "execute": lambda text: None if text == "all" else check_whole("execute", int(text), 1),
    "image_key": str,
    "prompt_key": str,
    "convention": str,
    "answer_within": lambda text: check_finite("answer_within", float(text), 0, 86_400),
    "patience": lambda text: check_finite("patience", float(text), 0, 86_400),
}
"""How the options of `RemotePolicy` are written in an address."""
WAITING = ("answer_within", "patience")
"""Options that do not change what a policy does."""


@dataclass
class _Lane:
    """One episode: its connection, and what is needed to bring a new server up to date."""

    instruction: str
    seed: int | None
    connection: ClientConnection | None = None
    seen: list[dict[str, np.ndarray]] = field(default_factory=list)
    convert: Callable[[np.ndarray], np.ndarray] | None = None


class RemotePolicy:
    """Asks a policy server for actions, one connection per lane.

    Each frame sends ``{image_key: frame uint8 (h w 3), "prompt": instruction}`` and reads ``actions`` (m n) or (n,).
    The frame is the first camera's; a robot with several sends each as ``observation/<camera>``, one with a state
    sends it as ``observation/state``.  ``convention`` says what the numbers of an action mean
    (`real2sim.policies.conventions`); without it the server's greeting does, and one that says nothing must answer in
    the layout of ``robot`` (RT-1's by default).  Of m actions the first ``execute`` are executed (all, if it is None;
    by default those of one frame) before the server is asked again.  A server whose greeting says ``"stateful":
    True`` (as `serve-policy` does) is shown every frame and begins an episode when ``"reset"`` is true, with
    ``"seed"`` if there is one.

    Options can follow the address: ``ws://127.0.0.1:8000#execute=8,image_key=observation/exterior_image_1_left``.

    A connection that fails is made anew for ``patience`` seconds, and the episode's frames are shown again to a
    stateful server; an answer that does not come ``answer_within`` seconds is asked for once more.  Then a
    ConnectionError says what happened.  A malformed answer is a ValueError at once.
    """

    def __init__(
        self,
        address: str,
        robot: Robot | None = None,
        *,
        execute: int | Literal["frame"] | None = "frame",
        image_key: str = IMAGE_KEY,
        prompt_key: str = PROMPT_KEY,
        convention: str | None = None,
        answer_within: float = 60.0,
        patience: float = 30.0,
    ) -> None:
        self.address, written = read_address(address)
        given = {
            "execute": execute,
            "image_key": image_key,
            "prompt_key": prompt_key,
            "convention": convention,
            "answer_within": answer_within,
            "patience": patience,
        } | written
        self._robot = robot or rt1_robot()
        per_frame = self._robot.actions_per_frame
        self._execute: int | None = per_frame if given["execute"] == "frame" else given["execute"]
        self._image_key, self._prompt_key = given["image_key"], given["prompt_key"]
        self._convention: str | None = given["convention"]
        self._answer_within, self._patience = given["answer_within"], given["patience"]
        if self._execute is not None and self._execute < 1:
            raise ValueError(f"execute must be at least 1, got {self._execute}")
        if self._convention is not None:
            find_convention(self._convention)
        self._lanes: list[_Lane] = []
        self._chunks = ChunkBuffer(0, per_frame, self._execute)
        self._seeds: list[int] | None = None
        self._greeting: dict[str, Any] = {}

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that the next `reset` begins; stateful servers are told."""
        self._seeds = [int(seed) for seed in seeds]

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin one episode per instruction; connections that are open are used again."""
        seeds = [None] * len(instructions) if self._seeds is None else self._seeds
        self._seeds = None
        connections = [lane.connection for lane in self._lanes]
        for connection in connections[len(instructions) :]:
            if connection is not None:
                connection.close()
        connections = connections[: len(instructions)] + [None] * (len(instructions) - len(connections))
        self._lanes = [
            _Lane(text, seed, connection)
            for text, seed, connection in zip(instructions, seeds, connections, strict=True)
        ]
        self._chunks = ChunkBuffer(len(self._lanes), self._robot.actions_per_frame, self._execute)

    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes K n), or (lanes n) where K is 1."""
        check_frames(observation.frames, len(self._lanes))
        actions = [self._act(index, lane, observation) for index, lane in enumerate(self._lanes)]
        robot = self._robot
        shape = (len(actions), robot.actions_per_frame, robot.action_width)
        return robot.recorded(np.array(actions, np.float32).reshape(shape))

    def close(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            _disconnect(lane)

    def _act(self, index: int, lane: _Lane, observation: Observation) -> np.ndarray:
        """The lane's next actions (K n)."""
        lane.seen.append(self._seen(index, observation))
        if index in self._chunks.needs() or self._stateful:
            where = f"policy server {self.address}, lane {index}, step {len(lane.seen) - 1}"
            chunk = self._ask_patiently(lane, where)
            try:
                self._chunks.put(index, chunk)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        if lane.convert is None:
            lane.convert = find_convention(self._meaning).begin()
        return np.stack([lane.convert(action) for action in self._chunks.take(index)])

    def _seen(self, index: int, observation: Observation) -> dict[str, np.ndarray]:
        """What the server is shown of one lane."""
        frames = {name: images[index].copy() for name, images in observation.images.items()}
        shown = {self._image_key: next(iter(frames.values()))}
        if len(frames) > 1:
            shown |= {OBSERVATION + name: frame for name, frame in frames.items()}
        if observation.state is not None:
            shown[STATE_KEY] = observation.state[index].copy()
        return shown

    @property
    def takes_seeds(self) -> bool:
        """Whether the server is told the episodes' seeds, as far as its greeting is known."""
        return self._stateful

    @property
    def _stateful(self) -> bool:
        return bool(self._greeting.get("stateful", False))

    @property
    def _meaning(self) -> str:
        return self._convention or str(self._greeting.get("convention", "real2sim"))

    def _ask_patiently(self, lane: _Lane, where: str) -> np.ndarray:
        """The server's actions (n w) for the newest frame, over a new connection if the old one is lost."""
        from websockets.exceptions import ConnectionClosed, InvalidHandshake

        began, slow = None, 0
        while True:
            try:
                fresh = lane.connection is None
                if lane.connection is None:
                    lane.connection = self._connect()
                for position in range(0 if fresh and self._stateful else len(lane.seen) - 1, len(lane.seen)):
                    answer = self._ask(lane.connection, lane, position)
                return self._actions(answer, where)
            except (ConnectionClosed, InvalidHandshake, OSError) as error:
                _disconnect(lane)
                slow += isinstance(error, TimeoutError)
                began = began or time.monotonic()
                if slow > 1 or time.monotonic() - began > self._patience:
                    raise ConnectionError(
                        f"{where}: {str(error) or type(error).__name__}; finished episodes are kept, "
                        "start the server and give the same command again"
                    ) from error
                time.sleep(0.2)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error

    def _ask(self, connection: ClientConnection, lane: _Lane, position: int) -> bytes:
        observation: dict[str, Any] = {**lane.seen[position], self._prompt_key: lane.instruction}
        if self._stateful:
            observation["reset"] = position == 0
            if lane.seed is not None:
                observation["seed"] = lane.seed
        connection.send(pack_message(observation))
        try:
            answer = connection.recv(timeout=self._answer_within)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self._answer_within:g} seconds") from None
        if isinstance(answer, str):
            # openpi's servers send their traceback as text; its last line says what happened.
            raise ValueError(f"the server failed with {(answer.strip().splitlines() or ['no words'])[-1]}")
        return answer

    def _connect(self) -> ClientConnection:
        try:
            from websockets.exceptions import InvalidURI
            from websockets.sync.client import connect
        except ImportError as error:
            raise ImportError(
                "remote policies need the extra 'remote': pip install 'real2sim[remote]'"
            ) from error
        try:
            # Newer versions of websockets connect on entering; the lane closes what it got.
            opening = connect(self.address, compression=None, max_size=MOST_BYTES, open_timeout=5)
            connection: ClientConnection = ExitStack().enter_context(opening)
        except InvalidURI as error:
            raise ValueError(f"{self.address!r} is not an address such as ws://127.0.0.1:8000") from error
        greeting = connection.recv(timeout=self._answer_within)
        if isinstance(greeting, str):
            raise ValueError("the greeting is text; is this a policy server?")
        self._greeting = unpack_message(greeting)
        self._check_layout()
        return connection

    def _check_layout(self) -> None:
        """Whether the server's actions are for this robot, as far as its greeting says."""
        names, robot = self._robot.action_names, self._robot
        if self._meaning != OWN_LAYOUT:
            if names != rt1_robot().action_names:
                raise ValueError(
                    f"convention {self._meaning!r} of the server is for robots with RT-1's action, robot "
                    f"{robot.name!r} has {', '.join(names)}"
                )
            return
        theirs = self._greeting.get("action_names")
        if theirs is not None and tuple(map(str, theirs)) != names:
            raise ValueError(
                f"the server answers with the action numbers {', '.join(map(str, theirs))}, robot {robot.name!r} "
                f"has {', '.join(names)}"
            )

    def _actions(self, answer: bytes, where: str) -> np.ndarray:
        """Actions (n w) float32 of a server's answer."""
        message = unpack_message(answer)
        if "actions" not in message:
            raise ValueError(f"the answer has no 'actions' but {', '.join(map(str, message)) or 'nothing'}")
        width = find_convention(self._meaning).width or self._robot.action_width
        actions = np.atleast_2d(np.asarray(message["actions"]))
        if (
            actions.ndim != 2
            or actions.shape[1] != width
            or not len(actions)
            or actions.dtype.kind not in "fiu"
        ):
            raise ValueError(
                f"actions have shape {actions.shape} and type {actions.dtype}, expected numbers (n, {width}) "
                f"in the convention {self._meaning!r}; docs/actions.md lists the others"
            )
        return actions.astype(np.float32)


def read_address(written: str) -> tuple[str, dict[str, Any]]:
    """The address proper, and the options that follow it after ``#``."""
    address, _, tail = written.partition("#")
    options: dict[str, Any] = {}
    for option in filter(None, tail.split(",")):
        name, _, value = option.partition("=")
        try:
            options[name] = READERS[name](value)
        except (KeyError, ValueError) as error:
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            raise ValueError(
                f"{written!r}: {option!r} is no option of a policy server{reason}; there are {', '.join(READERS)}, "
                "e.g. ws://127.0.0.1:8000#execute=8,patience=60"
            ) from None
    try:
        parts = urlsplit(address)
        known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{written!r} is not an address such as ws://127.0.0.1:8000")
    return address, options


def _disconnect(lane: _Lane) -> None:
    if lane.connection is not None:
        lane.connection.close()
        lane.connection = None
