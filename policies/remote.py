"""A policy in another process or on another machine, behind the wire that openpi's policy servers speak."""

from __future__ import annotations

import socket
import ssl
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from real2sim.actions import rt1_robot
from real2sim.failures import one_line
from real2sim.policies.chunks import ChunkBuffer
from real2sim.policies.policy import Observation, check_instructions, observe, observed_frames
from real2sim.policies.remote_options import NEEDS_EXTRA, RemoteOptions, read_address
from real2sim.policies.remote_plan import RemotePlan, make_plan
from real2sim.policies.server_answers import check_chunk
from real2sim.policies.servers.policy_wire import MOST_BYTES, names_of, pack_message, unpack_message
from real2sim.robot import Robot
from real2sim.simulation.lane_lists import check_seeds
from real2sim.wording import without_password

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection


@dataclass
class _Lane:
    """One episode: its connection, and what is needed to bring a new server up to date."""

    instruction: str
    seed: int | None
    connection: ClientConnection | None = None
    seen: list[Observation] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """Steps at which the server was asked."""
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    convert: Callable[[np.ndarray], np.ndarray] | None = None


class RemotePolicy:
    """Asks a policy server for actions, one connection per lane.

    What is sent for each frame and what the answer means follow from the server's greeting, the robot and
    `RemoteOptions`, given by name or behind the address (``ws://127.0.0.1:8000#preset=droid,execute=8``).  Without any
    of these the frame of the first camera goes as ``observation/image``, each of several as ``observation/<camera>``,
    a state as ``observation/state``, the instruction as ``prompt``, and ``actions`` (m n) or (n,) must be in the
    layout of ``robot`` (RT-1's by default).  A server whose greeting says ``"stateful": True`` (as `serve-policy` does)
    is shown every frame and begins an episode when ``"reset"`` is true, with ``"seed"`` if there is one.

    A connection that fails is made anew for ``patience`` seconds, and what a server remembers of the episode is shown
    to it again; an answer that does not come ``answer_within`` seconds is asked for once more.  Then a
    ConnectionError says what happened.  A malformed answer is a ValueError at once.
    """

    def __init__(self, address: str, robot: Robot | None = None, **options: Any) -> None:
        self.address, written = read_address(address)
        self._shown = without_password(self.address)
        self.options = RemoteOptions(**(options | written))
        self._robot = robot or rt1_robot()
        per_frame, execute = self._robot.actions_per_frame, self.options.execute
        self._execute = per_frame if execute == "frame" else execute
        self._lanes: list[_Lane] = []
        self._chunks = ChunkBuffer(0, per_frame, self._execute)
        self._seeds: list[int] | None = None
        self._plan: RemotePlan | None = None

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that the next `reset` begins; stateful servers are told."""
        self._seeds = check_seeds(seeds)

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin one episode per instruction; connections that are open are used again."""
        instructions = check_instructions(instructions)
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
        observed_frames(observation, len(self._lanes))
        actions = [self._act(index, lane, observation) for index, lane in enumerate(self._lanes)]
        robot = self._robot
        shape = (len(actions), robot.actions_per_frame, robot.action_width)
        return robot.recorded(np.array(actions, np.float32).reshape(shape))

    def close(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            _disconnect(lane)

    def given(self, observation: Observation) -> dict[str, Any]:
        """What the server is sent for the first lane of an observation; it is connected to for its greeting."""
        if not self._lanes:
            self.reset(observation.instructions)
        lane = self._lanes[0]
        if lane.connection is None:
            self._patiently(lane, f"policy server {self._shown}", self._connect)
        assert self._plan is not None
        return self._plan.mapping.message(observation.lane(0), lane.instruction)

    def _act(self, index: int, lane: _Lane, observation: Observation) -> np.ndarray:
        """The lane's next actions (K n)."""
        lane.seen.append(kept(self._robot, observation, index))
        stateful = self._plan is not None and self._plan.stateful
        if index in self._chunks.needs() or stateful:
            where = f"policy server {self._shown}, lane {index}, step {len(lane.seen) - 1}"
            chunk = self._patiently(lane, where, self._ask_all)
            try:
                self._chunks.put(index, chunk)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        assert self._plan is not None
        if lane.convert is None:
            lane.convert = self._plan.begin()
        actions = np.stack([lane.convert(action) for action in self._chunks.take(index)])
        if self.options.outside == "clip":
            actions = np.clip(actions, self._robot.low, self._robot.high)
        return actions

    @property
    def takes_seeds(self) -> bool:
        """Whether the server is told the episodes' seeds, as far as its greeting is known."""
        return self._plan is not None and self._plan.stateful

    def _patiently(self, lane: _Lane, where: str, ask: Callable[[_Lane], Any]) -> Any:
        """What ``ask`` gives for a lane; with a new connection each time, until patience is over."""
        from websockets.exceptions import ConnectionClosed, InvalidHandshake

        began, slow = None, 0
        while True:
            try:
                return ask(lane)
            except (ConnectionClosed, InvalidHandshake, OSError) as error:
                _disconnect(lane)
                slow += isinstance(error, TimeoutError)
                began = began or time.monotonic()
                if slow > 1 or time.monotonic() - began > self.options.patience:
                    closed = "the connection was closed: " if isinstance(error, ConnectionClosed) else ""
                    raise ConnectionError(
                        f"{where}: {closed}{one_line(error)}; finished episodes are kept, "
                        f"{_remedy(error)} and give the same command again"
                    ) from error
                time.sleep(0.2)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error

    def _ask_all(self, lane: _Lane) -> np.ndarray:
        """The server's actions (m w) for the newest frame; a new connection is first shown what the old one saw."""
        fresh = lane.connection is None
        if fresh:
            self._connect(lane)
        plan, newest = self._plan, len(lane.seen) - 1
        assert plan is not None
        again = plan.stateful or plan.session
        earlier = [place for place in lane.asked if place < newest] if fresh and again else []
        for position in [*earlier, newest]:
            answer = self._ask(plan, lane, position)
        if not lane.asked or lane.asked[-1] != newest:
            lane.asked.append(newest)
        return self._actions(plan, answer)

    def _ask(self, plan: RemotePlan, lane: _Lane, position: int) -> bytes:
        assert lane.connection is not None
        _nothing_waits(lane.connection)
        message = plan.mapping.message(lane.seen[position], lane.instruction)
        if plan.stateful:
            message["reset"] = position == 0
            if lane.seed is not None:
                message["seed"] = lane.seed
        if plan.session:
            message["session_id"] = lane.session
        if plan.counts:
            message["steps"] = self._robot.actions_per_frame
        lane.connection.send(pack_message(message))
        try:
            answer = lane.connection.recv(timeout=self.options.answer_within)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.options.answer_within:g} seconds") from None
        if isinstance(answer, str):
            raise ValueError(f"the server failed with {_last_line(answer)}")
        return answer

    def _connect(self, lane: _Lane) -> None:
        """Open a lane's connection, and make the plan from what the server says in its greeting."""
        try:
            from websockets.exceptions import InvalidURI
            from websockets.sync.client import connect
        except ImportError as error:
            raise ImportError(NEEDS_EXTRA) from error
        try:
            # Newer versions of websockets connect on entering; the lane closes what it got.
            opening = connect(self.address, compression=None, max_size=MOST_BYTES, open_timeout=5)
            lane.connection = ExitStack().enter_context(opening)
        except (InvalidURI, ValueError) as error:
            # The address itself was read before; a server can send on to another one.
            raise ValueError(
                f"the server sends on to an address that is none of a websocket ({error}); name the address behind it"
            ) from error
        try:
            greeting = lane.connection.recv(timeout=self.options.answer_within)
        except TimeoutError:
            raise TimeoutError(f"no greeting within {self.options.answer_within:g} seconds") from None
        if isinstance(greeting, str):
            raise ValueError(f"the greeting is text ({_last_line(greeting)}); is this a policy server?")
        plan = make_plan(self._robot, self.options, unpack_message(greeting))
        if self._plan not in (None, plan):
            raise ValueError(
                "the server greets otherwise than before; start the first one again, or roll the new one out under "
                "another name"
            )
        self._plan = plan

    def _actions(self, plan: RemotePlan, answer: bytes) -> np.ndarray:
        """Actions (m w) float32 of a server's answer."""
        message = unpack_message(answer)
        if "actions" not in message:
            raise ValueError(f"the answer has no 'actions' but {names_of(message)}")
        return check_chunk(message["actions"], plan.width, plan.name)


def kept(robot: Robot, observation: Observation, index: int) -> Observation:
    """One lane of an observation, as a copy."""
    one = observation.lane(index)
    state = None if one.state is None else one.state.copy()
    return observe(robot, one.frames.copy(), one.instructions, state)


def _remedy(error: Exception) -> str:
    """What to do about a connection that fails."""
    from websockets.exceptions import InvalidHandshake, InvalidStatus

    status = error.response.status_code if isinstance(error, InvalidStatus) else 0
    if status in (401, 407):
        return "write ws://user:password@host:port"
    if isinstance(error, ssl.SSLError):
        return "write ws:// if the server has no certificate"
    if isinstance(error, socket.gaierror):
        return "correct the host of the address, or start it,"
    busy = status == 429 or status >= 500
    if isinstance(error, InvalidHandshake) and not busy:
        return "is this the address of a policy server? Correct it"
    return "start the server"


def _nothing_waits(connection: ClientConnection) -> None:
    """A message that nobody asked for would be taken for the next answer, and each answer then come a step late."""
    try:
        message = connection.recv(timeout=0)
    except TimeoutError:
        return
    said = f"text, {_last_line(message)!r}" if isinstance(message, str) else f"{len(message)} bytes"
    raise ValueError(
        f"the server sent a second message ({said}) after its answer; openpi's servers send one per question"
    )


def _last_line(text: str) -> str:
    """What happened, of the traceback that openpi's servers send as text."""
    return (text.strip().splitlines() or ["no words"])[-1][:300]


def _disconnect(lane: _Lane) -> None:
    if lane.connection is not None:
        lane.connection.close()
        lane.connection = None
