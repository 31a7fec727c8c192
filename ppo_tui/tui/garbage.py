"""Garbage collected between keys: on a timer, and after each page."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys

from .private_textual import forget_pictures
from .terminal_diff import transition
from .widgets.game_picture import half_block_segment

SECONDS = 10.0
"""Between two collections of all garbage, at most."""

CLOSING_SECONDS = 0.2
"""From leaving a page until all of it is garbage; the next page stands by then, too."""

MANY_MODULES = 20
"""New modules from which on their objects are set aside."""

_NEVER = 1_000_000_000


async def collect_garbage(page_left: asyncio.Event, seconds: float = SECONDS) -> None:
    """Collect all garbage now and then, until cancelled.

    The objects of libraries stay for good, and to go through those of torch alone takes 100 ms, in which nobody trains:
    they are set aside whenever many modules have come. Torch loads some of its parts at the first update only.

    Pages that closed are garbage, and so are the places, colours and texts of what they showed. Were they left for
    long, the room of many would be taken from the system, and little of it given back, as what is used lies scattered
    in it.

    Args:
        page_left: set by the app.
    """
    thresholds, known = gc.get_threshold(), 0
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await page_left.wait()
                    await asyncio.sleep(CLOSING_SECONDS)
            page_left.clear()
            forget_pictures()
            transition.cache_clear()
            half_block_segment.cache_clear()
            gc.collect()
            if len(sys.modules) - known >= MANY_MODULES:
                known = len(sys.modules)
                gc.freeze()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
