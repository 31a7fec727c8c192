"""The base of all events."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of all events.

    Attributes:
        time: seconds since the Unix epoch, for the record.
        elapsed: seconds of the run so far, from a monotonic clock: rates are computed from this one.
    """

    time: float = 0.0
    elapsed: float = 0.0
