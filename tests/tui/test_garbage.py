"""Garbage and caches after a page was left; the objects of libraries are set aside, whenever these come."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import pytest
import textual.strip
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.box_model import BoxModel
from textual.cache import FIFOCache
from textual.geometry import Region
from textual.strip import Strip

from ppo_tui.config.schema import all_settings
from ppo_tui.tui.garbage import CLOSING_SECONDS, MANY_MODULES, bounded_caches, collect_garbage
from ppo_tui.tui.private_textual import forget_lines, forget_messages, forget_sizes, strips_without_caches
from ppo_tui.tui.terminal_app import TerminalApp

from .desk import desk
from .fake import recorded


@pytest.fixture
def app() -> TerminalApp:
    """An app that nobody runs, with nothing but what is due."""
    return TerminalApp(None, None, None)


def is_set_aside(thing: object) -> bool:
    """Whether the collector no longer looks at an object."""
    return not any(tracked is thing for tracked in gc.get_objects())


async def test_modules_that_come_later_are_set_aside_too(app, monkeypatch):
    thresholds, before = gc.get_threshold(), [[]]
    collector = asyncio.create_task(collect_garbage(app, seconds=0.0))
    async with asyncio.timeout(60):
        while not is_set_aside(before):
            await asyncio.sleep(0.01)
        later = [[]]
        for number in range(MANY_MODULES):
            monkeypatch.setitem(sys.modules, f"later_{number}", ModuleType(f"later_{number}"))
        while not is_set_aside(later):
            await asyncio.sleep(0.01)
    collector.cancel()
    await asyncio.wait([collector])
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, thresholds)


async def first_collection(app: TerminalApp) -> None:
    """Wait for the first collection; it sets aside what is there."""
    app.garbage_due.set()
    async with asyncio.timeout(60):
        while not gc.get_freeze_count():
            await asyncio.sleep(0.01)


class Page:
    """An object that refers to itself, as a page and its widgets do to each other."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_closed_is_collected_once_a_page_was_left(app):
    collector = asyncio.create_task(collect_garbage(app, seconds=1_000.0))
    page = Page()
    closed = weakref.ref(page)
    gc.collect(1)  # it has grown old
    gc.collect(1)
    del page
    gc.collect(1)
    assert closed()
    app.garbage_due.set()
    async with asyncio.timeout(60):
        while closed():
            await asyncio.sleep(0.01)
    collector.cancel()
    await asyncio.wait([collector])


async def test_a_page_left_while_another_closes_is_collected_soon_after_it(app):
    collector = asyncio.create_task(collect_garbage(app, seconds=1_000.0))
    await first_collection(app)
    first, second = Page(), Page()
    closed, closes = weakref.ref(first), weakref.ref(second)
    gc.collect(1)  # they have grown old
    gc.collect(1)
    del first
    app.garbage_due.set()
    await asyncio.sleep(CLOSING_SECONDS / 2)
    app.garbage_due.set()
    async with asyncio.timeout(60):
        while closed():
            await asyncio.sleep(0.01)
        del second  # now it has closed, too
        while closes():
            await asyncio.sleep(0.01)
    collector.cancel()
    await asyncio.wait([collector])


async def test_a_page_set_aside_while_it_is_open_is_collected_once_it_is_left():
    async with desk(*recorded(3)) as it:
        collector = asyncio.create_task(collect_garbage(it.app, seconds=0.1))
        await it.press("ctrl+p")
        page = weakref.ref(it.app.screen)
        async with asyncio.timeout(60):
            while not is_set_aside(page()):
                await it.pilot.pause(0.01)
            await it.press("escape")
            while page():
                await it.pilot.pause(0.01)
        collector.cancel()
        await asyncio.wait([collector])


async def test_it_ends_when_told_to_in_the_moment_a_page_was_left(app):
    collector = asyncio.create_task(collect_garbage(app, seconds=1_000.0))
    await asyncio.sleep(0.01)
    app.garbage_due.set()
    collector.cancel()
    await asyncio.wait([collector], timeout=10)
    assert collector.cancelled()


async def test_what_textual_and_rich_keep_of_pictures_is_forgotten(app):
    places = Region.intersection
    settings = all_settings()
    for column in range(1_000):
        Strip.render_ansi(Style(meta={"offset": (column, 0)}), ColorSystem.TRUECOLOR)
        Region(column, 0, 5, 5).intersection(Region(column, 1, 5, 5))
    collector = asyncio.create_task(collect_garbage(app, seconds=0.0))
    async with asyncio.timeout(60):
        while Strip.render_ansi.cache_info().currsize or places.cache_info().currsize:
            await asyncio.sleep(0.01)
    collector.cancel()
    await asyncio.wait([collector])
    assert all_settings() is settings  # computed once, however often garbage is collected


def in_memory(kind: type) -> int:
    """How many objects of a type are reachable."""
    gc.collect()
    return sum(type(found) is kind for found in gc.get_objects())


async def test_pages_that_were_closed_leave_no_lines_in_memory():
    async with desk(*recorded(40)) as it:
        counts = []
        for _ in range(4):
            for _ in range(5):
                await it.press("ctrl+p", "escape")
            for cache in bounded_caches():
                cache.cache_clear()
            counts.append(in_memory(Strip))
    growth = [after - before for before, after in pairwise(counts)]
    assert min(growth) < 5, counts  # pages that stay leave a line each, and more, in every round


async def test_the_lines_of_a_page_go_when_it_is_left_before_it_is_garbage():
    async with desk(*recorded(3)) as it:
        await it.press("ctrl+p")
        page, before = it.app.screen, in_memory(Strip)
        it.app.pop_screen()
        assert page.is_running
        assert in_memory(Strip) < before - page.size.height


async def test_the_former_sizes_of_widgets_are_forgotten():
    async with desk(*recorded(1)) as it:
        counts = []
        for _ in range(4):
            for _ in range(4):
                await it.press("2", "enter", "escape")
            forget_sizes(it.app)
            counts.append(in_memory(BoxModel))
    assert max(counts) <= counts[0], counts  # a zoom makes new ones, and each widget keeps 16


async def test_a_page_is_collected_though_a_widget_heard_from_it_last():
    async with desk(*recorded(1)) as it:
        collector = asyncio.create_task(collect_garbage(it.app, seconds=1_000.0))
        await first_collection(it.app)
        await it.press("ctrl+p")
        page = it.app.screen
        await it.press("escape")
        it.app.main.chart.post_message(events.Hide().set_sender(page))
        left = weakref.ref(page)
        del page
        it.app.garbage_due.set()
        async with asyncio.timeout(10):
            while left():
                await asyncio.sleep(0.01)
        collector.cancel()
        await asyncio.wait([collector])


def test_strips_keep_none_of_their_parts_while_the_screen_runs():
    before = in_memory(FIFOCache)
    with strips_without_caches():
        strip = Strip([Segment("of a page")])
        assert [part.text for part in strip.divide([2, 9])] == ["of", " a page"]
        assert strip.crop(3, 4).text == "a"
        assert strip.crop(3, 4) is not strip.crop(3, 4)
        assert in_memory(FIFOCache) == before
    afterwards = Strip([Segment("of another app")])
    assert afterwards.crop(3, 4) is afterwards.crop(3, 4)


def test_without_the_caches_of_textual_strips_are_as_they_are(monkeypatch):
    monkeypatch.delattr(textual.strip, "FIFOCache")
    with strips_without_caches():
        assert not hasattr(textual.strip, "FIFOCache")
    assert not hasattr(textual.strip, "FIFOCache")


async def test_without_the_registry_of_textual_its_sizes_messages_and_lines_stay():
    await forget_messages(SimpleNamespace())
    forget_sizes(SimpleNamespace())
    forget_sizes(SimpleNamespace(_registry=[SimpleNamespace()]))
    forget_lines(SimpleNamespace(walk_children=lambda with_self: [SimpleNamespace()]))


@pytest.mark.parametrize("opening", [["ctrl+p"], ["question_mark"], ["2", "enter"]])
async def test_the_app_tells_when_a_page_a_dialog_or_a_zoomed_panel_was_left(opening):
    async with desk(*recorded(1)) as it:
        await it.press(*opening)
        it.app.garbage_due.clear()
        await it.press("escape")
        assert it.app.garbage_due.is_set()
