"""Garbage is collected when a page was left; the objects of libraries are set aside, whenever these come."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from types import ModuleType

from ppo_tui.tui.garbage import MANY_MODULES, collect_garbage

from .desk import desk
from .fake import recorded


async def frozen_objects(more_than: int) -> int:
    """Wait until so many objects are set aside."""
    async with asyncio.timeout(60):
        while gc.get_freeze_count() <= more_than:
            await asyncio.sleep(0)
    return gc.get_freeze_count()


async def test_modules_that_come_later_are_set_aside_too(monkeypatch):
    before, thresholds = gc.get_freeze_count(), gc.get_threshold()
    collector = asyncio.create_task(collect_garbage(asyncio.Event(), seconds=0.0))
    at_first = await frozen_objects(before)
    kept = [[number] for number in range(1_000)]
    for number in range(MANY_MODULES):
        monkeypatch.setitem(sys.modules, f"later_{number}", ModuleType(f"later_{number}"))
    assert await frozen_objects(at_first) >= at_first + len(kept)
    collector.cancel()
    await asyncio.wait([collector])
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, thresholds)


class Page:
    """An object that refers to itself, as a page and its widgets do to each other."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_closed_is_collected_once_a_page_was_left():
    page_left = asyncio.Event()
    collector = asyncio.create_task(collect_garbage(page_left, seconds=1_000.0))
    page = Page()
    closed = weakref.ref(page)
    gc.collect(1)  # it has grown old
    gc.collect(1)
    del page
    gc.collect(1)
    assert closed()
    page_left.set()
    async with asyncio.timeout(60):
        while closed():
            await asyncio.sleep(0.01)
    collector.cancel()
    await asyncio.wait([collector])


async def test_the_app_tells_when_a_page_or_dialog_was_left():
    async with desk(*recorded(1)) as it:
        for opening in ("ctrl+p", "question_mark"):
            await it.press(opening)
            it.app.page_left.clear()
            await it.press("escape")
            assert it.app.page_left.is_set()
