"""The main screen at every size: what is there, what the footer offers, what the head says."""

from __future__ import annotations

import pytest

from ppo_tui.plotting import formats
from ppo_tui.protocol import Alarm, Level, UpdateFinished
from ppo_tui.tui.screen_options import Look
from ppo_tui.tui.screens.dialogs import LeaveDialog
from ppo_tui.tui.screens.help import HelpScreen
from ppo_tui.tui.widgets.events import Events
from ppo_tui.tui.widgets.header import Header
from ppo_tui.tui.widgets.metrics_table import MetricsTable
from ppo_tui.tui.widgets.settings import Settings
from ppo_tui.tui.widgets.workers import Workers
from tests.tui.desk import DONE, Desk, desk
from tests.tui.fake import recorded

PANELS = {"workers": Workers, "settings": Settings, "events": Events, "metrics": MetricsTable}


def heights(it: Desk) -> dict[str, int]:
    """The rows of each panel, without those outside the screen."""
    regions = {name: it.app.main.query_one(panel).region for name, panel in PANELS.items()}
    return {name: it.app.main.region.intersection(region).height for name, region in regions.items()}


def footer(it: Desk) -> str:
    return it.picture.splitlines()[-1]


async def test_every_size_uses_its_rows_and_keeps_the_keys_for_help_and_leaving():
    async with desk(*recorded(40), fps=1.0) as it:
        low = heights(it)
        assert low["metrics"] == 0
        games = {(120, 40): it.app.main.game.region.area}
        for size in ((100, 60), (120, 60), (200, 50), (200, 60), (120, 120), (300, 70)):
            await it.pilot.resize_terminal(*size)
            await it.say()
            tall = heights(it)
            if size[1] >= 60:
                assert all(tall[name] >= low[name] for name in PANELS), (size, tall)
                assert tall["metrics"] >= 10, size
            games[size] = it.app.main.game.region.area
            *rows, last = it.picture.splitlines()
            assert all(row.strip() for row in rows), f"an empty row at {size}"
            assert "? Help" in last
            assert "q Quit" in last
        assert games[100, 60] == 0
        assert games[120, 40] < games[120, 60] < games[200, 60]
        assert games[120, 40] < games[200, 50]
        await it.pilot.resize_terminal(200, 30)
        assert it.app.main.game.region.area, "beside the charts, where there is room"
        await it.pilot.resize_terminal(60, 16)
        assert footer(it).rstrip().endswith("? Help q Quit")
        assert "Zoom" in footer(it)


async def test_a_tall_terminal_has_the_metrics_beside_the_charts_and_enter_gives_them_all_the_room():
    async with desk(size=(120, 60)) as it:
        shown = it.charts_shown()
        await it.press("5")
        assert it.charts_shown() == shown
        assert it.app.main.query_one(MetricsTable).has_class("-focused")
        await it.press("enter")
        assert it.charts_shown() == []
        assert heights(it)["metrics"] > 40
        await it.press("escape")
        assert it.charts_shown() == shown
        await it.press("tab")
        assert it.app.main.charts.has_keys, "the game is off here"


async def test_too_small_a_terminal_has_one_line_with_the_run_and_keys_that_work():
    async with desk(*recorded(40), size=(59, 40)) as it:
        score = formats.number(it.app.controller.view.series["rollout/ep_rew_mean"].last)
        for size, line in (
            ((59, 40), f"breakout-7 ▸ {score} 0% · enlarge to 60×16 · ? q"),
            ((59, 15), f"breakout-7 ▸ {score} 0% · enlarge to 60×16 · ? q"),
            ((120, 15), f"breakout-7 ▸ {score} 0% · enlarge to 60×16 · ? q"),
            ((30, 20), f"breakout-7 ▸ {score} 0% · ? q"),
            ((20, 5), f"b… ▸ {score} 0% · ? q"),
            ((10, 1), f"… ▸ {score[:3]}…"),
        ):
            await it.pilot.resize_terminal(*size)
            await it.say()
            first, *rest = it.picture.splitlines()
            assert first.strip() == line
            assert not "".join(rest).strip()
        await it.press("question_mark")
        assert isinstance(it.app.screen, HelpScreen)
        await it.press("escape", "q")
        assert isinstance(it.app.screen, LeaveDialog)


async def test_elapsed_and_remaining_time_stay_apart_when_a_day_is_left():
    events = list(recorded(30))
    slow = UpdateFinished(update=31, step=31 * 1024, metrics={}, elapsed=events[-1].elapsed + 800)
    async with desk(*events, slow, size=(80, 24)) as it:
        for width, words in ((80, " · "), (104, " elapsed · "), (120, " elapsed · ")):
            await it.pilot.resize_terminal(width, 24)
            progress = it.text(Header).splitlines()[1]
            elapsed, left = progress.split(words)
            assert elapsed.endswith(" 14:11"), progress
            assert left.strip() == "4d 16h left"
        await it.say(DONE)
        assert it.text(Header).splitlines()[1].endswith(" 4:24:08 elapsed")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (193, "3:13"),
        (793, "13:13"),
        (3600, "1:00:00"),
        (15_522, "4:18:42"),
        (219_605, "2d 13h"),
        (None, "–"),
    ],
)
def test_a_clock_has_no_leading_zeros(seconds, text):
    assert formats.clock(seconds) == text


async def test_every_panel_has_its_number_and_the_footer_the_keys_of_the_panel():
    async with desk(size=(120, 60), fps=1.0) as it:
        for title in ("1 Return", "2 Workers", "3 Settings", "4 Events", "5 Metrics", "6 Game"):
            assert f" {title} " in it.picture
        await it.press("3")
        assert "+- Change" in footer(it)
        await it.press("4")
        assert "+-" not in footer(it)


async def test_screens_offer_their_own_keys_and_the_way_back():
    async with desk(size=(80, 24)) as it:
        for key, words in (
            ("enter", ["esc Back", "+- Zoom", "y Log", "o Smooth", "0 All", "tab Next"]),
            ("e", ["esc Back", "+- Change", "⏎ Type", "a Apply"]),
            ("C", ["esc Back", "⏎ Choose", "/ Filter"]),
            ("A", ["esc Back", "/ Filter"]),
        ):
            await it.press(key)
            for word in [*words, "? Help", "q Quit"]:
                assert word in footer(it), (key, word)
            assert "⏎ Zoom" not in footer(it)
            await it.press("escape")
        await it.press("a")
        assert "enter adds or removes · esc closes" in it.picture, "the picker's hint is whole"


async def test_in_ascii_keys_are_written_in_words():
    async with desk(look=Look(ascii=True)) as it:
        assert "enter Zoom" in footer(it)
        await it.press("question_mark")
        assert "arrows" in it.said("#help-text")
        assert not set("⏎⇧←↑→↓⇞⇟") & set(it.said("#help-text").partition("Signs")[0])


async def test_no_word_of_the_head_the_tiles_and_the_editor_is_cut():
    """Whole facts are left out instead."""
    async with desk(*recorded(40), size=(60, 16)) as it:
        for size in ((60, 16), (80, 24), (100, 30), (120, 40)):
            await it.pilot.resize_terminal(*size)
            await it.say()
            rows = it.picture.splitlines()
            above_charts = rows[: next(number for number, row in enumerate(rows) if "Return" in row)]
            assert "…" not in "".join(above_charts), size
        await it.pilot.resize_terminal(80, 24)
        await it.press("e")
        assert "annealed" in it.picture
        assert "…" not in it.picture


async def test_lines_of_a_screen_that_has_just_come_wait_for_the_whole_of_it():
    async with desk(*recorded(40)) as it:
        await it.say(*(Alarm(level=Level.WARNING, message=f"old {number}") for number in range(20)))
        panel, painted = it.app.main.query_one(Events), []
        it.app._display = lambda screen, update: painted.append(update)
        it.app.screen.refresh()  # as when it comes back
        it.app.controller.view.apply(Alarm(level=Level.WARNING, message="new"))
        panel.renew()
        assert not painted
        await it.pilot.pause()
        assert "new" in it.picture
