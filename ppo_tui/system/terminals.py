"""Terminals: their input, and their loss."""

from __future__ import annotations

import errno
import select
import termios
from collections.abc import Sequence

from .choice import Choice

_POLLS_TERMINALS = hasattr(select, "epoll")
"""Whether `poll` knows terminals. That of macOS takes each for closed; a kernel with epoll is Linux."""

_LOOK_SECONDS = 1.0


def has_input(terminal: int, seconds: float) -> bool:
    """Whether a terminal can be read, or is gone, within this time.

    By `select`, as macOS's `poll` knows no terminals.
    """
    return bool(select.select([terminal], [], [], seconds)[0])


def wait_for_hangup(terminals: Sequence[int], over: int) -> bool:
    """Wait for the loss of a terminal, or the end of `over`.

    Args:
        terminals: descriptors of character devices; those without a terminal never go away.

    Returns:
        Whether a terminal went away.
    """
    return _polled(terminals, over) if _POLLS_TERMINALS else _looked_at(terminals, over)


def _polled(terminals: Sequence[int], over: int) -> bool:
    poll = select.poll()
    for descriptor in (*terminals, over):
        poll.register(descriptor, 0)  # POLLHUP, the end of the other side, is always reported
    return over not in dict(poll.poll())


def _looked_at(terminals: Sequence[int], over: int) -> bool:
    """Look again and again: a lost terminal has no attributes any more."""
    while not select.select([over], [], [], _LOOK_SECONDS)[0]:
        if any(map(_is_gone, terminals)):
            return True
    return False


def _is_gone(terminal: int) -> bool:
    """Whether a terminal has been lost; others than terminals never are."""
    try:
        termios.tcgetattr(terminal)
    except termios.error as error:
        return error.args[0] in (errno.EIO, errno.ENXIO)
    return False


def choices() -> list[Choice]:
    """The means in use for terminals."""
    purpose = "loss of the terminal"
    if _POLLS_TERMINALS:
        return [Choice(purpose, "poll")]
    return [Choice(purpose, "a look each second", "it is noticed up to a second later")]
