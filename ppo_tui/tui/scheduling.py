"""Short scheduler slices for the threads of the screen, on a machine whose cores are all taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..system import request_scheduler_slice

SHORT_SECONDS = 0.0001
"""The shortest slice that the kernel grants."""


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """Short ones for this thread and those that it starts inside; what it starts afterwards takes usual ones again."""
    changed = request_scheduler_slice(SHORT_SECONDS)
    try:
        yield
    finally:
        if changed:
            request_scheduler_slice(0.0)
