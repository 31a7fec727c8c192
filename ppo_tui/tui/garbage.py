"""Garbage collected between keys: on a timer, sooner if there is much."""

from __future__ import annotations

import asyncio
import gc
import sys
import time

from .private_textual import forget_closed_widgets

SECONDS = 10.0
"""Between two collections of all garbage, at most."""

LOOK_SECONDS = 1.0
"""Between two looks for much of it."""

MANY_COLLECTIONS = 4
"""Python's own collections of young objects, since the last of all, from which on there is much.

A page that opens and closes makes about so many; Breakout and its panels alone, none in a minute.
"""

MANY_MODULES = 20
"""New modules from which on their objects are set aside."""

_NEVER = 1_000_000_000


async def collect_garbage(seconds: float = SECONDS, look_seconds: float = LOOK_SECONDS) -> None:
    """Collect all garbage now and then, until cancelled.

    The objects of libraries stay for good, and to go through those of torch alone takes 100 ms, in which nobody trains:
    they are set aside whenever many modules have come. Torch loads some of its parts at the first update only.

    Pages that closed are garbage. Were it left for long, the room of many would be taken from the system, and little of
    it given back, as what is used lies scattered in it.
    """
    thresholds, known = gc.get_threshold(), 0
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        collected = time.monotonic()
        while True:
            await asyncio.sleep(look_seconds)
            if time.monotonic() - collected < seconds and gc.get_count()[2] < MANY_COLLECTIONS:
                continue
            forget_closed_widgets()
            gc.collect()
            if len(sys.modules) - known >= MANY_MODULES:
                known = len(sys.modules)
                gc.freeze()
            collected = time.monotonic()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
