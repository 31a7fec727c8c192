"""What travels over the pipes: a byte that says what it is, then a few bytes of payload.

Arrays never travel here, they lie in shared memory; a step costs five bytes one way and one the other. Only the
rare messages (resets with seeds, calls by name, infos, errors) carry a pickle, between a parent and the children
that it started itself.
"""

from __future__ import annotations

import enum
import pickle
import struct
from typing import Any, NamedTuple

MAX_MESSAGE_BYTES = 1 << 28
"""A longer message is garbage: refuse it instead of allocating what its header claims."""


class Request(enum.IntEnum):
    """What the parent asks of a worker."""

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
    """How a worker answers."""

    READY = 1
    DONE = 2
    RESULT = 3
    ERROR = 4


class WorkerFailure(NamedTuple):
    """An exception inside a worker, as text: the exception itself may not survive the journey.

    Attributes:
        env: index of the environment that raised, or None where the worker itself did.
    """

    env: int | None
    error: str
    traceback: str


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
