"""The wire of openpi's policy servers: a websocket, MessagePack messages, arrays as small maps.

This file stands alone, because the scripts beside it run in environments without real2sim: it needs numpy,
msgpack and websockets.  An array is ``{b"__ndarray__": True, b"data", b"dtype", b"shape"}``, as
``openpi-client`` sends it.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from websockets.sync.server import Server, ServerConnection

OBSERVATION = "observation/"
"""Begins the name of each camera's frame and of the state."""
IMAGE_KEY, STATE_KEY, PROMPT_KEY = OBSERVATION + "image", OBSERVATION + "state", "prompt"
PLAIN_KINDS = "biufSU"
"""Kinds of array that are sent: booleans, integers, floats, byte strings and strings."""

MOST_BYTES = 64 << 20
"""Of a message: a frame of 4096 x 4096 pixels is 48 MiB."""
LONGEST_PROMPT = 10_000
"""Characters of an instruction."""

log = logging.getLogger(__name__)


class Lane(Protocol):
    """One episode at a time of a policy; each connection has its own."""

    def reset(self, instruction: str, seed: int | None) -> None:
        """Begin an episode; all randomness comes from the seed, where the client gives one."""

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        """The next m actions (m width) for an observation: ``observation/image`` is the frame of the only or first
        camera, uint8 (h w 3); robots with several cameras or a state send ``observation/<camera>`` and
        ``observation/state`` too."""


def serve_forever(make: Callable[[], Lane], greeting: dict[str, Any], host: str, port: int) -> None:
    """Serve until the process is stopped, and say where."""
    # LeRobot configures logging when it is imported, so that a message of this level would not be shown.
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    log.propagate = False
    with policy_server(make, greeting, host, port) as server:
        place, number = server.socket.getsockname()[:2]
        log.info("serving at ws://%s:%d", f"[{place}]" if ":" in place else place, number)
        threading.Event().wait()


@contextmanager
def policy_server(
    make: Callable[[], Lane], greeting: dict[str, Any], host: str = "127.0.0.1", port: int = 0
) -> Iterator[Server]:
    """A server in a thread of its own that greets each connection and answers it with a lane from ``make``.

    The greeting says ``stateful`` (lanes remember frames, so each must be shown) and ``convention`` (what the
    numbers of an action mean).  Port 0 takes a free one, to be read from ``server.socket.getsockname()``.
    """
    try:
        import msgpack  # noqa: F401
        from websockets.sync.server import serve
    except ImportError as error:
        raise ImportError("a policy server needs: pip install websockets msgpack") from error
    # Networks are shared between connections, and not every framework may be entered by two threads.
    turn = threading.Lock()
    open_ones: set[ServerConnection] = set()

    def answer(connection: ServerConnection) -> None:
        open_ones.add(connection)
        try:
            _answer_all(connection, make(), greeting, turn)
        finally:
            open_ones.discard(connection)

    try:
        server = serve(
            answer,
            host,
            port,
            compression=None,
            max_size=MOST_BYTES,
            # Browsers name the page that asks; only programs, which do not, are answered.
            origins=[None],
        )
    except (OSError, UnicodeError) as error:
        # Numbers of the resolver are negative.
        known = isinstance(error, OSError) and not isinstance(error, socket.gaierror)
        number = error.errno if known and isinstance(error, OSError) else errno.EADDRNOTAVAIL
        raise OSError(listening_sentence(number, host, port)) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        # Before websockets 17 those that are open were answered on.
        for connection in list(open_ones):
            connection.close(1001)
        thread.join(timeout=5)


def listening_sentence(number: int | None, host: str, port: int) -> str:
    """Why nothing can listen there, by the number of the system's error."""
    if number == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program; choose another with --port, or --port 0 for any"
    if number == errno.EACCES:
        return (
            f"port {port} of {host} may not be used by this user; choose one from 1024 to 65535 with --port"
        )
    if number == errno.EADDRNOTAVAIL or (number or 0) < 0:
        return f"host {host!r} is no address of this machine; leave --host out"
    return (
        f"nothing can listen on port {port} of {host} (error {number}); choose others with --host and --port"
    )


def pack_message(message: dict[str, Any]) -> bytes:
    """One binary message."""
    import msgpack

    packed: bytes = msgpack.packb(message, default=_pack_array)
    return packed


def unpack_message(data: bytes) -> dict[str, Any]:
    """The message in ``data``; a ValueError says what is wrong with one that is malformed."""
    import msgpack

    try:
        message = msgpack.unpackb(data, object_hook=_unpack_array)
    except (
        ValueError,
        TypeError,
        KeyError,
        ArithmeticError,
        RecursionError,
        msgpack.UnpackException,
    ) as error:
        raise ValueError(
            f"a message of {len(data)} bytes is not MessagePack as openpi sends it ({_reason(error)[:200]}); pack it "
            "with openpi_client.msgpack_numpy"
        ) from error
    if not isinstance(message, dict):
        raise ValueError(f"a message holds a {type(message).__name__}, expected a map with named values")
    return message


def _reason(error: Exception) -> str:
    """What is wrong with a message; msgpack's own errors often say nothing."""
    if isinstance(error, KeyError):
        return f"an array has no {error.args[0]!r}"
    known = {"StackError": "values are nested too deeply", "ExtraData": "bytes follow after the end"}
    return known.get(type(error).__name__, str(error) or f"{type(error).__name__}: no valid MessagePack")


def _answer_all(
    connection: ServerConnection, lane: Lane, greeting: dict[str, Any], turn: threading.Lock
) -> None:
    """Greet, then answer each observation with actions until the client goes."""
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        _answer_each(connection, lane, greeting, turn)


def _answer_each(
    connection: ServerConnection, lane: Lane, greeting: dict[str, Any], turn: threading.Lock
) -> None:
    connection.send(pack_message(greeting))
    prompt: str | None = None
    for message in connection:
        try:
            values = _observation(message)
        except ValueError as error:
            # The lane has not seen it, and the episode goes on.
            log.warning("no action: %s", printable(str(error)))
            connection.send(f"ValueError: {' '.join(str(error).split())}")
            continue
        asked = values[PROMPT_KEY]
        try:
            with turn:
                if values.get("reset", False) or asked != prompt:
                    lane.reset(asked, values.get("seed"))
                    prompt = asked
                actions = lane.act(values)
            answer: bytes | str = pack_message({"actions": np.asarray(actions, dtype=np.float32)})
        except Exception as error:
            # As openpi's server does: text instead of bytes is an error. The client decides what to do.
            if isinstance(error, ValueError):
                log.warning("no action: %s (%s)", printable(str(error)), _raised(error))
            else:
                log.exception("no action for this observation")
            answer, prompt = f"{type(error).__name__}: {' '.join(str(error).split())}", None
        connection.send(answer)


def _raised(error: Exception) -> str:
    """File and line where an exception was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"


def printable(text: str) -> str:
    """One line, in which what commands a terminal is shown by its number."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in " ".join(text.split())
    )


def _observation(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, str):
        raise ValueError("the observation is text; expected MessagePack")
    values = unpack_message(message)
    for key in (IMAGE_KEY, PROMPT_KEY):
        if key not in values:
            raise ValueError(f"the observation has no {key!r}; it holds {names_of(values)}")
    if not isinstance(values[PROMPT_KEY], str):
        raise ValueError(f"{PROMPT_KEY} is a {type(values[PROMPT_KEY]).__name__}, expected text")
    if len(values[PROMPT_KEY]) > LONGEST_PROMPT:
        raise ValueError(
            f"the prompt has {len(values[PROMPT_KEY])} characters; expected at most {LONGEST_PROMPT}"
        )
    if not isinstance(values.get("reset", False), bool | np.bool_):
        raise ValueError(f"reset is {str(values['reset'])[:60]}, expected true or false")
    seed = values.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0):
        raise ValueError(f"seed is {str(seed)[:60]}, expected a whole number from 0")
    if STATE_KEY in values:
        values[STATE_KEY] = _numbers(STATE_KEY, values[STATE_KEY])
    for key in [key for key in values if str(key).startswith(OBSERVATION) and key != STATE_KEY]:
        frame = values[key] = _array(key, values[key])
        if frame.ndim == 1 and frame.dtype.kind in "fiub" and key != IMAGE_KEY:
            # Numbers for other policies, such as joint positions.
            continue
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ValueError(f"{key} is {frame.dtype} {frame.shape}; expected uint8 (height, width, 3)")
    return values


def names_of(values: dict[Any, Any]) -> str:
    """The first names of a message, for a sentence."""
    shown = ", ".join(str(name)[:40] for name in list(values)[:10])
    return f"{shown} and {len(values) - 10} more" if len(values) > 10 else shown or "nothing"


def _array(key: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{key} is a list of lists of unequal lengths; expected an array") from None


def _numbers(key: str, value: Any) -> np.ndarray:
    """One row of finite numbers."""
    numbers = _array(key, value)
    if numbers.dtype.kind not in "fiu" or numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError(f"{key} is {numbers.dtype} {numbers.shape}; expected one row of finite numbers")
    return numbers


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"arrays of type {value.dtype} cannot be sent")
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise ValueError(f"a {type(value).__name__} cannot be sent")


def _unpack_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        dtype, shape, data = _plain(value[b"dtype"]), value[b"shape"], value[b"data"]
        if not isinstance(data, bytes):
            raise ValueError(f"an array's data is a {type(data).__name__}, expected bytes")
        if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"an array has the shape {str(shape)[:60]}, expected a list of whole numbers")
        size = dtype.itemsize * math.prod(shape)
        if size != len(data):
            raise ValueError(
                f"an array of type {dtype} and shape {str(shape)[:60]} has {len(data)} bytes, expected {size}"
            )
        return np.frombuffer(data, dtype=dtype).reshape(shape).copy()
    if b"__npgeneric__" in value:
        return _plain(value[b"dtype"]).type(value[b"data"])
    return value


def _plain(name: Any) -> np.dtype[Any]:
    """The type that a message names as text; objects and records are none of numbers."""
    try:
        written = name.decode() if isinstance(name, bytes) else name
        if not isinstance(written, str) or len(written) > 40:
            raise TypeError
        dtype = np.dtype(written)
    except (SyntaxError, TypeError, ValueError):
        raise ValueError(f"{str(name)[:40]!r} is no type of numbers") from None
    if dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"arrays of type {dtype} are not accepted")
    return dtype
