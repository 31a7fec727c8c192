"""The format of messages: length, kind, payload.

Arrays never travel here, they lie in shared memory; a step costs nine bytes one way and five the other. Only the
rare messages (resets with seeds, calls by name, infos, errors) carry a pickle, between a parent and the children
that it started itself.

The framing is our own: the parent reads and writes pipes without blocking, which `Connection`'s methods cannot.
"""

from __future__ import annotations

import enum
import os
import pickle
import struct
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

_R = TypeVar("_R")

LENGTH = struct.Struct("!i")
"""Before each message: its bytes."""

MAX_MESSAGE_BYTES = 1 << 28
"""A longer message is garbage: refuse it instead of allocating what its length claims."""


class Request(enum.IntEnum):
    """Kinds of messages from the parent to a worker."""

    STEP = 1
    RESET = 2
    CALL = 3
    SET_ATTR = 4
    CLOSE = 5
    SAVE_STATES = 6
    RESTORE_STATES = 7
    START_RECORDING = 8
    FETCH_RECORDING = 9


class Reply(enum.IntEnum):
    """Kinds of messages from a worker to the parent."""

    READY = 1
    DONE = 2
    RESULT = 3
    ERROR = 4


class RaisedError(NamedTuple):
    """An exception raised inside a worker, as text.

    The exception itself may not survive pickling.

    Attributes:
        env: index of the environment that raised it, or None where the worker itself did.
        error: its type and message.
        kind: name of the nearest class of Python or of `gymnasium.error` that it is an instance of.
    """

    env: int | None
    error: str
    traceback: str
    kind: str


class ParentGoneError(Exception):
    """End of the pipe: the parent has closed its own, or died."""


_STEP = struct.Struct("<BI")


def encode_step(slot: int) -> bytes:
    return _STEP.pack(Request.STEP, slot)


def decode_step(message: bytes) -> int:
    """The slot of a step request."""
    return _STEP.unpack(message)[1]


def encode(kind: Request | Reply, payload: Any = None) -> bytes:
    head = bytes([kind])
    return head if payload is None else head + pickle.dumps(payload, protocol=pickle.HIGHEST_PROTOCOL)


def decode(message: bytes) -> Any:
    """The payload behind the first byte, or None."""
    return pickle.loads(memoryview(message)[1:]) if len(message) > 1 else None


# ── In a worker, which waits for each message ───────────────────────────────────────────────────────────────


def send(pipe: Connection, message: bytes) -> None:
    """Send a whole message.

    Raises:
        ParentGoneError: the parent is gone.
    """
    rest = memoryview(frame(message))
    while rest:
        rest = rest[_called(os.write, pipe.fileno(), rest) :]


def receive(pipe: Connection) -> bytes:
    """Wait for a message and return it.

    Raises:
        ParentGoneError: the parent is gone, or what came is no message.
    """
    (length,) = LENGTH.unpack(_read(pipe, LENGTH.size))
    if not 0 < length <= MAX_MESSAGE_BYTES:
        raise ParentGoneError(f"a message of {length} bytes")
    return _read(pipe, length)


def frame(message: bytes) -> bytes:
    """`message` behind its length."""
    return LENGTH.pack(len(message)) + message


def _read(pipe: Connection, size: int) -> bytes:
    """Exactly `size` bytes."""
    chunk = _called(os.read, pipe.fileno(), size)
    if len(chunk) == size:
        return chunk
    content = bytearray(chunk)
    while len(content) < size:
        if not chunk:
            raise ParentGoneError
        chunk = _called(os.read, pipe.fileno(), size - len(content))
        content += chunk
    return bytes(content)


def _called(function: Callable[..., _R], *arguments: Any) -> _R:
    """Read or write, with errors of the system as the parent's end.

    Those without a number are of a signal's handler, which runs in between.
    """
    try:
        return function(*arguments)
    except OSError as error:
        if error.errno is None:
            raise
        raise ParentGoneError from error
