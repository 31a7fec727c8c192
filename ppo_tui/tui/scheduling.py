"""Short scheduler slices for the threads of the screen.

On a machine whose cores are all taken, keys are then answered sooner.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..system import request_scheduler_slice

SHORT_SECONDS = 0.0001
"""The shortest slice that the kernel grants."""


@contextlib.contextmanager
def short_slices() -> Iterator[None]:
    """Request short slices for this thread and those started inside.

    Threads and processes started afterwards have default slices again.
    """
    changed = request_scheduler_slice(SHORT_SECONDS)
    try:
        yield
    finally:
        if changed:
            request_scheduler_slice(0.0)
