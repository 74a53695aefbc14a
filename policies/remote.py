"""A policy in another process or on another machine, behind the wire that openpi's policy servers speak."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from real2sim.actions import WIDTH
from real2sim.policies.policy import check_frames
from real2sim.policies.wire import pack_message, unpack_message

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

IMAGE_KEY, PROMPT_KEY = "observation/image", "prompt"


@dataclass
class _Lane:
    """One episode: its connection, and what is needed to bring a new server up to date."""

    instruction: str
    connection: ClientConnection | None = None
    seen: list[np.ndarray] = field(default_factory=list)
    waiting: list[np.ndarray] = field(default_factory=list)


class RemotePolicy:
    """Asks a policy server for actions, one connection per lane.

    Each step sends ``{image_key: frame uint8 (h w 3), "prompt": instruction}`` and reads ``actions`` (n 13) or
    (13,), in the layout of `real2sim.actions`.  Of n actions the first ``execute`` are played (all, if it is
    None) before the server is asked again.  A server whose greeting says ``"stateful": True`` (as `serve-policy`
    does for policies that remember) is shown every frame and begins an episode when ``"reset"`` is true.

    A connection that fails is made anew for ``patience`` seconds, the episode's frames are shown again to a
    stateful server, and then a ConnectionError says what happened.
    """

    def __init__(
        self,
        address: str,
        *,
        execute: int | None = 1,
        image_key: str = IMAGE_KEY,
        prompt_key: str = PROMPT_KEY,
        answer_within: float = 60.0,
        patience: float = 30.0,
    ) -> None:
        self.address = address
        self._execute = execute
        self._image_key, self._prompt_key = image_key, prompt_key
        self._answer_within, self._patience = answer_within, patience
        self._lanes: list[_Lane] = []
        self._stateful = False

    def reset(self, instructions: Sequence[str]) -> None:
        """Begin one episode per instruction; connections that are open are used again."""
        connections = [lane.connection for lane in self._lanes]
        for connection in connections[len(instructions) :]:
            if connection is not None:
                connection.close()
        connections = connections[: len(instructions)] + [None] * (len(instructions) - len(connections))
        self._lanes = [
            _Lane(text, connection) for text, connection in zip(instructions, connections, strict=True)
        ]

    def act(self, frames: np.ndarray) -> np.ndarray:
        """Actions (b 13) float32 for uint8 frames (b h w 3)."""
        check_frames(frames, len(self._lanes))
        actions = [
            self._act(index, lane, frame)
            for index, (lane, frame) in enumerate(zip(self._lanes, frames, strict=True))
        ]
        return np.stack(actions) if actions else np.zeros((0, WIDTH), np.float32)

    def close(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            if lane.connection is not None:
                lane.connection.close()
                lane.connection = None

    def _act(self, index: int, lane: _Lane, frame: np.ndarray) -> np.ndarray:
        lane.seen.append(frame.copy())
        if not lane.waiting or self._stateful:
            answer = self._ask_patiently(lane)
            chunk = _actions(answer, self.address, index, len(lane.seen) - 1)
            lane.waiting = list(chunk[: self._execute])
        return lane.waiting.pop(0)

    def _ask_patiently(self, lane: _Lane) -> dict[str, Any]:
        """The server's answer to the newest frame, over a new connection if the old one is lost."""
        from websockets.exceptions import ConnectionClosed

        deadline = time.monotonic() + self._patience
        while True:
            try:
                fresh = lane.connection is None
                if lane.connection is None:
                    lane.connection = self._connect(deadline)
                first = 0 if fresh and self._stateful else len(lane.seen) - 1
                for position in range(first, len(lane.seen)):
                    answer = self._ask(lane.connection, lane, position)
                return answer
            except (ConnectionClosed, OSError) as error:
                if lane.connection is not None:
                    lane.connection.close()
                    lane.connection = None
                if isinstance(error, TimeoutError) or time.monotonic() > deadline:
                    raise ConnectionError(
                        f"policy server {self.address} was lost at step {len(lane.seen) - 1} "
                        f"({error or type(error).__name__}); start it again, and run the same command to go on"
                    ) from error
                time.sleep(0.2)

    def _ask(self, connection: ClientConnection, lane: _Lane, position: int) -> dict[str, Any]:
        observation: dict[str, Any] = {
            self._image_key: lane.seen[position],
            self._prompt_key: lane.instruction,
        }
        if self._stateful:
            observation["reset"] = position == 0
        connection.send(pack_message(observation))
        try:
            answer = connection.recv(timeout=self._answer_within)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self._answer_within:g} seconds") from None
        if isinstance(answer, str):
            # openpi's servers send their traceback as text; its last line says what happened.
            raise ValueError(f"policy server {self.address} failed: {answer.strip().splitlines()[-1]}")
        return unpack_message(answer)

    def _connect(self, deadline: float) -> ClientConnection:
        try:
            from websockets.exceptions import InvalidHandshake, InvalidURI
            from websockets.sync.client import connect
        except ImportError as error:
            raise ImportError(
                "remote policies need the extra 'remote': pip install 'real2sim[remote]'"
            ) from error
        while True:
            try:
                # Newer versions of websockets connect on entering; the lane closes what it got.
                opening = connect(self.address, compression=None, max_size=None, open_timeout=5)
                connection: ClientConnection = ExitStack().enter_context(opening)
                greeting = connection.recv(timeout=self._answer_within)
                if isinstance(greeting, str):
                    raise ValueError(f"{self.address} greets with text; is this a policy server?")
                self._stateful = bool(unpack_message(greeting).get("stateful", False))
                return connection
            except InvalidURI as error:
                raise ValueError(f"{self.address!r} is not an address such as ws://127.0.0.1:8000") from error
            except (OSError, InvalidHandshake) as error:
                if time.monotonic() > deadline:
                    raise ConnectionError(
                        f"no policy server answers at {self.address} ({error}); is it running, and is the port right?"
                    ) from error
                time.sleep(0.2)


def _actions(answer: dict[str, Any], address: str, lane: int, step: int) -> np.ndarray:
    """Actions (n 13) float32 of a server's answer."""
    if "actions" not in answer:
        raise ValueError(f"policy server {address}, lane {lane}, step {step}: the answer has no 'actions'")
    actions = np.atleast_2d(np.asarray(answer["actions"]))
    if actions.ndim != 2 or actions.shape[1] != WIDTH or not len(actions):
        raise ValueError(
            f"policy server {address}, lane {lane}, step {step}: actions have shape {actions.shape}, expected "
            f"(n, {WIDTH}); convert them in the server to the layout in docs/actions.md"
        )
    return actions.astype(np.float32)
