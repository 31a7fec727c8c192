"""Choices between Linux's own means and portable ones."""

from __future__ import annotations

from typing import NamedTuple


class Choice(NamedTuple):
    """The means in use on this platform for one purpose.

    Attributes:
        purpose: in a few words.
        used: the means in use.
        loss: what is worse than on Linux; empty where Linux's own means is in use.
    """

    purpose: str
    used: str
    loss: str = ""
