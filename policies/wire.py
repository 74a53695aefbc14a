"""Messages of openpi's policy servers: MessagePack, with arrays as small maps.

The format is that of ``openpi-client``: an array is ``{b"__ndarray__": True, b"data", b"dtype", b"shape"}``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PLAIN_KINDS = "biufSU"
"""Kinds of array that are sent: booleans, integers, floats, byte strings and strings."""


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
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(
            f"a message of {len(data)} bytes is not MessagePack as openpi sends it ({error})"
        ) from error
    if not isinstance(message, dict):
        raise ValueError(f"a message holds a {type(message).__name__}, expected a map with named values")
    return message


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
        dtype = _plain(value[b"dtype"])
        return np.frombuffer(value[b"data"], dtype=dtype).reshape(value[b"shape"]).copy()
    if b"__npgeneric__" in value:
        return _plain(value[b"dtype"]).type(value[b"data"])
    return value


def _plain(name: str | bytes) -> np.dtype[Any]:
    dtype = np.dtype(name.decode() if isinstance(name, bytes) else name)
    if dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"arrays of type {dtype} are not accepted")
    return dtype
