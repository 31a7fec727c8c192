"""Lines painted past the compositor, and the line of keys."""

from __future__ import annotations

import itertools

import pyte
import pytest
from rich.console import Console

from ppo_tui.protocol import Alarm, Level
from ppo_tui.tui.widgets.direct_painting import PaintedSpans
from ppo_tui.tui.widgets.events import Events
from ppo_tui.tui.widgets.key_line import KeyLine
from tests.tui.desk import DONE, desk
from tests.tui.fake import recorded


def alarms(count: int, word: str) -> list[Alarm]:
    return [Alarm(level=Level.WARNING, message=f"{word} {number}") for number in range(count)]


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 16)], ids=str)
async def test_the_terminal_shows_what_the_compositor_would_have_shown(size):
    terminal = pyte.Screen(*size)
    stream, console = pyte.Stream(terminal), Console(force_terminal=True, color_system="truecolor")
    past_the_compositor = []
    before = len(list(recorded(40)))
    later = iter(list(recorded(400))[before:])
    async with desk(*recorded(40), size=size, notifications=True) as it:

        def display(screen, update) -> None:
            if update:
                stream.feed(update.render_segments(console))
                past_the_compositor.append(isinstance(update, PaintedSpans))

        it.app._display = display
        it.app.screen.refresh()
        for keys in ((), ("q",), ("escape",), ("question_mark",), ("escape",), ("e",), ("escape",), ("4", "m"), ("m",)):
            await it.press(*keys)
            past_the_compositor.clear()
            for number in range(3):  # the first ones fill lines that were not there
                await it.say(*alarms(4, f"after {keys}, {number},"), *itertools.islice(later, 10))
                await it.pass_time(1.0)
            assert any(past_the_compositor) != (len(it.app.screen_stack) > 1)
            assert "\n".join(terminal.display) == it.picture
        it.app.notify("a notification that lies above the events " * 9)
        await it.pilot.pause()
        assert "notification" in it.picture
        for number in range(9):
            await it.say(*alarms(3, f"under the notification, {number},"))
            assert "\n".join(terminal.display) == it.picture


async def test_each_line_of_a_panel_is_the_newest_after_it_was_covered():
    async with desk() as it:
        await it.say(*alarms(1, "before"))
        await it.press("e")
        await it.say(*alarms(1, "meanwhile"))
        await it.press("escape")
        assert "meanwhile 0" in it.picture
        assert it.text(Events).splitlines()[-1].strip() in it.picture


async def test_a_theme_chosen_meanwhile_colours_what_reads_the_same():
    async with desk(*recorded(40)) as it:
        panel = it.app.screen.query_one(Events)
        dark = panel.render_line(0)
        it.app.theme = "ppo-light"
        await it.pilot.pause()
        light = panel.render_line(0)
        assert light.text == dark.text
        assert light != dark


async def test_a_page_opened_before_has_the_colours_of_a_theme_chosen_since():
    async with desk() as it:
        await it.press("question_mark")
        dark = it.app.screen.styles.background
        await it.press("q")
        it.app.theme = "ppo-light"
        await it.press("question_mark")
        assert it.app.screen.styles.background != dark


async def test_the_mouse_selects_over_lines_of_a_panel():
    async with desk(*recorded(40)) as it:
        await it.say(*alarms(2, "number"))
        rows = it.picture.splitlines()
        first = next(y for y, row in enumerate(rows) if "number 0" in row)
        end = rows[first + 1].index("number 1") + len("number"), first + 1
        await it.pilot.mouse_down(offset=(rows[first].index("number 0"), first))
        await it.pilot.hover(offset=end)
        await it.pilot.mouse_up(offset=end)
        selected = it.app.screen.get_selected_text().splitlines()
        assert [selected[0].strip(), selected[1][-9:]] == ["number 0", "! number "]


class TestKeyLine:
    async def test_a_click_on_a_key_is_the_key(self):
        async with desk() as it:
            line = it.app.screen.query_one(KeyLine)
            await it.pilot.click(KeyLine, offset=(line.render().plain.index("Help") + 1, 0))
            assert "Pause, or resume" in it.picture

    async def test_what_does_nothing_after_the_end_rings_the_bell(self):
        async with desk(*recorded(30), DONE) as it:
            line, rung = it.app.screen.query_one(KeyLine), []
            it.app.bell = lambda: rung.append(True)
            await it.pilot.click(KeyLine, offset=(line.render().plain.index("Pause") + 1, 0))
            assert rung
            assert it.session.sent == []

    @pytest.mark.parametrize("width", [60, 80, 120])
    async def test_no_key_is_shown_in_part(self, width):
        async with desk(size=(width, 24)) as it:
            shown = it.app.screen.query_one(KeyLine).render().plain
        async with desk(size=(200, 24)) as it:
            all_keys = it.app.screen.query_one(KeyLine).render().plain
        assert len(shown) <= width - 2
        front = shown.removesuffix(" ? Help q Quit")
        assert all_keys == shown or (front != shown and all_keys.startswith(f"{front} "))
