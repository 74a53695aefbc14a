"""Puts any policy of ours behind the wire that openpi's policy servers speak."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from real2sim.policies.policy import Policy
from real2sim.policies.remote import IMAGE_KEY, PROMPT_KEY
from real2sim.policies.wire import pack_message, unpack_message

if TYPE_CHECKING:
    from websockets.sync.server import Server, ServerConnection

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServePolicy:
    """Serve a policy to openpi clients and to ``ws://`` policies of a rollout."""

    policy: str
    """Folder of a trained policy, or ``random``."""
    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine alone."""
    port: int = 8000
    device: str = "cpu"


def serve_policy(config: ServePolicy) -> None:
    """Serve until the process is stopped."""
    make = _maker(config)
    with policy_server(make, config.host, config.port) as server:
        log.info("policy %s at ws://%s:%d", config.policy, *server.socket.getsockname()[:2])
        threading.Event().wait()


@contextmanager
def policy_server(make: Callable[[], Policy], host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """A server in a thread of its own; each connection gets a policy from ``make`` and is one lane.

    Port 0 takes a free one, to be read from ``server.socket.getsockname()``.
    """
    try:
        from websockets.sync.server import serve
    except ImportError as error:
        raise ImportError(
            "serving a policy needs the extra 'remote': pip install 'real2sim[remote]'"
        ) from error
    # Networks are shared between connections, and not every framework may be entered by two threads.
    turn = threading.Lock()
    server = serve(
        lambda connection: _answer_all(connection, make(), turn), host, port, compression=None, max_size=None
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(timeout=5)


def _answer_all(connection: ServerConnection, policy: Policy, turn: threading.Lock) -> None:
    """Greet, then answer each observation with an action until the client goes."""
    connection.send(pack_message({"stateful": True, "action_layout": "real2sim"}))
    prompt: str | None = None
    for message in connection:
        try:
            frame, asked, reset = _observation(message)
            with turn:
                if reset or asked != prompt:
                    policy.reset([asked])
                    prompt = asked
                actions = policy.act(frame[None])
        except (ValueError, TypeError) as error:
            # As openpi's server does: text instead of bytes is an error. The client decides what to do.
            connection.send(f"{type(error).__name__}: {error}")
            prompt = None
            continue
        connection.send(pack_message({"actions": np.asarray(actions, dtype=np.float32)}))


def _observation(message: str | bytes) -> tuple[np.ndarray, str, bool]:
    if isinstance(message, str):
        raise ValueError("the observation is text; expected MessagePack")
    values: dict[str, Any] = unpack_message(message)
    for key in (IMAGE_KEY, PROMPT_KEY):
        if key not in values:
            raise ValueError(
                f"the observation has no {key!r}; it holds {', '.join(map(str, values)) or 'nothing'}"
            )
    frame = np.asarray(values[IMAGE_KEY])
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"{IMAGE_KEY} is {frame.dtype} {frame.shape}; expected uint8 (height, width, 3)")
    return frame, str(values[PROMPT_KEY]), bool(values.get("reset", False))


def _maker(config: ServePolicy) -> Callable[[], Policy]:
    if config.policy == "random":
        from real2sim.policies.random_policy import RandomPolicy

        return RandomPolicy
    from real2sim.policies.rt1 import RT1Policy

    loaded = RT1Policy.from_folder(Path(config.policy), device=config.device)
    return lambda: RT1Policy(loaded.network, loaded.instructions, device=config.device)
