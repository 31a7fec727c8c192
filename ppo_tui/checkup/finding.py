"""The result of a check."""

from __future__ import annotations

import enum

import msgspec


class Status(enum.StrEnum):
    """Outcome of a check.

    `WARN`: everything works, but something is slower or plainer than it could be.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """The result of one check.

    Attributes:
        found: what there is.
        remedy: what to do about it; empty if nothing is to be done.
    """

    status: Status
    found: str
    remedy: str = ""
