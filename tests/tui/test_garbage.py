"""Garbage is collected when there is much of it; the objects of libraries are set aside, whenever these come."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from types import ModuleType

from ppo_tui.tui.garbage import MANY_COLLECTIONS, MANY_MODULES, collect_garbage


async def frozen_objects(more_than: int) -> int:
    """Wait until so many objects are set aside."""
    async with asyncio.timeout(60):
        while gc.get_freeze_count() <= more_than:
            await asyncio.sleep(0)
    return gc.get_freeze_count()


async def test_modules_that_come_later_are_set_aside_too(monkeypatch):
    before, thresholds = gc.get_freeze_count(), gc.get_threshold()
    collector = asyncio.create_task(collect_garbage(seconds=0.0, look_seconds=0.0))
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


async def test_what_closed_is_collected_before_its_time_if_it_was_much():
    collector = asyncio.create_task(collect_garbage(seconds=1_000.0, look_seconds=0.0))
    await asyncio.sleep(0)
    page = Page()
    closed = weakref.ref(page)
    gc.collect(1)  # it has grown old
    gc.collect(1)
    del page
    gc.collect(1)
    assert closed()
    for _ in range(MANY_COLLECTIONS):
        gc.collect(1)
    async with asyncio.timeout(60):
        while closed():
            await asyncio.sleep(0)
    collector.cancel()
    await asyncio.wait([collector])
