"""Garbage collected between keys: on a timer, after pages and zooms."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .private_textual import forget_messages, forget_sizes

if TYPE_CHECKING:
    from textual.screen import Screen

    from .terminal_app import TerminalApp

SECONDS = 10.0
"""Between two collections of all garbage, at most."""

CLOSING_SECONDS = 0.2
"""Until all of what was left is garbage; what comes next stands by then, too."""

MANY_MODULES = 20
"""New modules from which on their objects are set aside."""

_NEVER = 1_000_000_000

_PACKAGES = "textual", "rich", "ppo_tui"
_Cache: type[Any] = type(lru_cache(len))


def bounded_caches() -> list[Any]:
    """Find the screen's caches with room for so many entries.

    As any entry may be dropped for another, all of them may be. Objects that are set aside are not looked through.
    """
    caches = [thing for thing in gc.get_objects() if type(thing) is _Cache and thing.cache_info().maxsize]
    return [cache for cache in caches if str(cache.__module__).partition(".")[0] in _PACKAGES]


async def collect_garbage(app: TerminalApp, seconds: float = SECONDS) -> None:
    """Collect all garbage of the screen now and then, until cancelled.

    The objects of libraries stay for good, and to go through those of torch alone takes 100 ms, in which nobody trains:
    they are set aside whenever many modules have come. Torch loads some of its parts at the first update only. A page
    that is open then is set aside with them, until it has closed.

    Pages that closed and the former places of panels are garbage, and so are the places, colours and texts of what they
    showed, with which Textual, Rich and this screen fill their caches. Were they left for long, the room of many would
    be taken from the system, and little of it given back, as what is used lies scattered in it.
    """
    thresholds, known, caches = gc.get_threshold(), 0, []
    pages: set[weakref.ref[Screen[Any]]] = set()  # open when objects were set aside
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # in Python 3.11, `wait_for` may swallow a cancellation
                    await app.garbage_due.wait()
                app.garbage_due.clear()  # what is left from now on has its own time to close
                await asyncio.sleep(CLOSING_SECONDS)
            await forget_messages(app)
            for cache in caches:
                cache.cache_clear()
            forget_sizes(app)
            if page_closed := any(page() and page() not in app.screen_stack for page in pages):
                gc.unfreeze()
            gc.collect()
            if modules_came := len(sys.modules) - known >= MANY_MODULES:
                known = len(sys.modules)
                caches += bounded_caches()
            if modules_came or page_closed:
                gc.freeze()
                open_pages = (page for page in app.screen_stack[1:] if not app.is_screen_installed(page))
                pages = {page for page in pages if page()} | {weakref.ref(page) for page in open_pages}
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
