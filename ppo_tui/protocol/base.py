"""The base of all events."""

from __future__ import annotations

from typing import Annotated

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of 64 bits: a record may hold a larger one, which neither arrays nor floats can."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of all events.

    Attributes:
        time: seconds since the Unix epoch, for the record.
        elapsed: seconds of the run so far, from a monotonic clock: rates are computed from this one.
    """

    time: float = 0.0
    elapsed: float = 0.0
