"""The wire of GR00T's policy servers: ZMQ request and reply, MessagePack messages, arrays as npy files in maps.

Source: NVIDIA/Isaac-GR00T, ``gr00t/policy/server_client.py`` (N1.6).  A request is ``{"endpoint", "data"}``;
``get_action`` takes ``{"observation", "options"}`` and answers ``[action map, info]``; ``{"error"}`` says what went
wrong.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import numpy as np

from real2sim.policies.remote_options import NEEDS_EXTRA
from real2sim.policies.servers.policy_wire import MOST_BYTES, PLAIN_KINDS

PING_SECONDS = 5.0
"""How long one look for a server takes."""


FARTHEST = 10_000
"""Frames before or after the present one that a server may ask for."""


@dataclass(frozen=True)
class Modality:
    """What ``get_modality_config`` says of video, state, action or language."""

    keys: tuple[str, ...]
    steps: tuple[int, ...]
    """Which control steps are meant, relative to now: ``(0,)`` for the present one."""


class Gr00tConnection:
    """One REQ socket; after a request that was not answered it is made anew."""

    def __init__(self, address: str, answer_within: float) -> None:
        try:
            import msgpack  # noqa: F401
            import zmq
        except ImportError as error:
            raise ImportError(NEEDS_EXTRA) from error
        self._zmq: Any = zmq
        self._context: Any = zmq.Context.instance()
        self._address = address.replace("zmq://", "tcp://", 1)
        self._answer_within = answer_within
        self._socket: Any = None

    def ask(self, endpoint: str, data: Mapping[str, Any] | None = None, within: float | None = None) -> Any:
        """What an endpoint answers.

        Raises TimeoutError for a server that does not, ValueError for an error of the server's and for an answer that
        is no MessagePack.
        """
        zmq, seconds = self._zmq, self._answer_within if within is None else within
        if self._socket is None:
            self._socket = self._context.socket(zmq.REQ)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
            self._socket.connect(self._address)
        for option in (zmq.RCVTIMEO, zmq.SNDTIMEO):
            self._socket.setsockopt(option, max(1, int(seconds * 1000)))
        try:
            self._socket.send(pack(request(endpoint, data)))
            answer = self._socket.recv()
        except zmq.Again:
            self.close()
            raise TimeoutError(f"no answer to {endpoint!r} within {seconds:g} seconds") from None
        except zmq.ZMQError as error:
            self.close()
            raise ConnectionError(f"{endpoint!r}: {error}") from error
        found = unpack(answer)
        if isinstance(found, dict) and "error" in found:
            words = str(found["error"]).strip().splitlines() or ["no words"]
            raise ValueError(f"the server failed with {words[-1][:300]}")
        return found

    def close(self) -> None:
        """Forget the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def request(endpoint: str, data: Mapping[str, Any] | None) -> dict[str, Any]:
    """A request; endpoints without arguments get no data."""
    return {"endpoint": endpoint} if data is None else {"endpoint": endpoint, "data": dict(data)}


def pack(message: Any) -> bytes:
    """One message."""
    import msgpack

    packed: bytes = msgpack.packb(message, default=_pack_array)
    return packed


def unpack(data: bytes) -> Any:
    """The message in ``data``; a ValueError says what is wrong with one that is malformed."""
    import msgpack

    try:
        return msgpack.unpackb(data, object_hook=_unpack_array)
    except (ValueError, TypeError, KeyError, RecursionError, EOFError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"a message of {len(data)} bytes is not MessagePack as GR00T sends it ({reason[:200]})"
        ) from error


def read_modalities(answer: Any) -> dict[str, Modality]:
    """The modality configuration of a server: video, state, action, language."""
    if not isinstance(answer, dict):
        raise ValueError(
            f"get_modality_config answers a {type(answer).__name__}, expected a map of modalities"
        )
    found = {}
    for name, described in answer.items():
        values = described.get("as_json", described) if isinstance(described, dict) else described
        if isinstance(values, str):
            try:
                values = json.loads(values)
            except ValueError:
                values = None
        known = values if isinstance(values, dict) else {}
        keys, steps = known.get("modality_keys"), known.get("delta_indices")
        if (
            not isinstance(keys, list)
            or not isinstance(steps, list)
            or not all(isinstance(n, int) and not isinstance(n, bool) for n in steps)
        ):
            raise ValueError(
                f"get_modality_config describes {str(name)!r} without the lists 'modality_keys' and 'delta_indices'"
            )
        far = next((n for n in steps if abs(n) > FARTHEST), None)
        if far is not None:
            raise ValueError(
                f"get_modality_config describes {str(name)!r} with the delta index {far}, expected frames from "
                f"{-FARTHEST} to {FARTHEST}"
            )
        found[str(name)] = Modality(tuple(map(str, keys)), tuple(steps))
    missing = [name for name in ("video", "action", "language") if not found.get(name, Modality((), ())).keys]
    if missing:
        raise ValueError(f"get_modality_config names no {missing[0]}; it has {', '.join(found) or 'nothing'}")
    return found


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in PLAIN_KINDS:
        stream = io.BytesIO()
        np.save(stream, value, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": stream.getvalue()}
    raise ValueError(f"a {type(value).__name__} cannot be sent")


def _unpack_array(value: dict[Any, Any]) -> Any:
    if "__ndarray_class__" not in value:
        return value
    content = value["as_npy"]
    if not isinstance(content, bytes) or not content.startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError("an array is no npy file")
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ArithmeticError, EOFError, MemoryError, SyntaxError, TokenError) as error:
        # What numpy raises at headers that are cut off or ask for more memory than there is.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"an array is a damaged npy file ({reason})") from error
