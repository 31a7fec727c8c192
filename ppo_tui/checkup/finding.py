"""What a check says."""

from __future__ import annotations

import enum

import msgspec


class Status(enum.StrEnum):
    """Whether it is as it should be; `WARN`: something is slower or plainer than it could be, and everything works."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """The outcome of one check.

    Attributes:
        found: what there is.
        remedy: what to do about it; empty where nothing is to be done.
    """

    status: Status
    found: str
    remedy: str = ""
