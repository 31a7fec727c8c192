"""Garbage collected on a timer, never during the answer to a key."""

from __future__ import annotations

import asyncio
import gc
import sys

from .private_textual import forget_closed_widgets

SECONDS = 10.0
"""Between two collections of all garbage."""

MANY_MODULES = 20
"""New modules from which on their objects are set aside."""

_NEVER = 1_000_000_000


async def collect_garbage(seconds: float = SECONDS) -> None:
    """Collect all garbage now and then, until cancelled.

    The objects of libraries stay for good, and to go through those of torch alone takes 100 ms, in which nobody trains:
    they are set aside whenever many modules have come. Torch loads some of its parts at the first update only.
    """
    thresholds, known = gc.get_threshold(), 0
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        while True:
            await asyncio.sleep(seconds)
            forget_closed_widgets()
            gc.collect()
            if len(sys.modules) - known >= MANY_MODULES:
                known = len(sys.modules)
                gc.freeze()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
