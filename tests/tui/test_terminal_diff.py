"""Reduced output, compared with a terminal that gets all of it."""

from __future__ import annotations

import gc
import sys

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ppo_tui.tui import terminal_diff
from ppo_tui.tui.terminal_diff import SYNC_END, SYNC_START, TerminalDiff
from tests.tui.clips import clip
from tests.tui.desk import desk
from tests.tui.fake import recorded

WIDTH, HEIGHT = 24, 6

COLOURS = ["31", "92", "44", "101", "39", "49", "48;5;16", "38;2;10;20;30", "38;2;10;20;30;48;2;1;2;3", "0;48;2;4;5;6"]
PARAMETERS = st.sampled_from(["0", "", "1", "2", "3;4", "7", "9", "1;38;5;203", "1;38;2;255;0;9;48;2;1;2;3", *COLOURS])
TEXT = st.text("abc 12…·╭━⣿→π漢字é", min_size=1, max_size=8)


@st.composite
def pieces(draw) -> str:
    """A piece of a line as Textual writes it: a move, then texts with styles."""
    row, column = draw(st.integers(1, HEIGHT)), draw(st.integers(1, WIDTH))
    data, free = f"\x1b[{row};{column}H", WIDTH + 1 - column
    for parameters, text in draw(st.lists(st.tuples(PARAMETERS, TEXT), max_size=4)):
        text = text[: free // 2]
        free -= 2 * len(text)
        reset = "\x1b[0m" if draw(st.booleans()) else ""
        data += f"\x1b[{parameters}m{text}{reset}"
    return data + draw(st.sampled_from(["", "\n"] if row < HEIGHT else [""]))


ENDED = "\x1b[0m\x1b[1;1H"
"""How Textual ends each writing: with a plain style, and the cursor where it belongs."""

WRITES = st.lists(
    st.lists(pieces(), min_size=1, max_size=3).map(lambda each: "".join(each) + ENDED), min_size=1, max_size=6
)


def shown(
    writes: list[str], width: int = WIDTH, height: int = HEIGHT
) -> tuple[list[list[pyte.screens.Char]], tuple[int, int]]:
    """The cells of a terminal that is sent `writes`, as an eye sees them, and its cursor."""
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    for data in writes:
        stream.feed(data)
    cells = [[as_seen(screen.buffer[y][x]) for x in range(width)] for y in range(height)]
    return cells, (screen.cursor.y, screen.cursor.x)


def as_seen(cell: pyte.screens.Char) -> pyte.screens.Char:
    """Where nothing stands, the colour and weight of letters are not to be seen."""
    if cell.data != " " or cell.underscore or cell.reverse or cell.strikethrough:
        return cell
    return cell._replace(fg="default", bold=False, italics=False)


@settings(max_examples=500)
@given(WRITES)
def test_the_terminal_shows_the_same(writes: list[str]):
    difference = TerminalDiff()
    assert shown([difference.reduce(data) for data in writes]) == shown(writes)


@settings(max_examples=50)
@given(WRITES, WRITES)
def test_what_is_not_understood_is_passed_on_and_nothing_relied_upon_afterwards(before: list[str], after: list[str]):
    difference = TerminalDiff()
    everything = [*before, "\x1b[2J", *after]
    assert shown([difference.reduce(data) for data in everything]) == shown(everything)


@settings(max_examples=50)
@given(pieces())
def test_the_same_again_is_not_written_again(piece: str):
    difference = TerminalDiff()
    data = piece.replace("漢", "x").replace("字", "y") + ENDED
    difference.reduce(data)
    assert difference.reduce(data) == ""


def test_of_a_line_only_the_cells_that_changed_are_written_with_what_changed_of_their_style():
    difference = TerminalDiff()
    dark = "48;2;1;2;3"
    difference.reduce(f"\x1b[2;1H\x1b[38;2;9;9;9;{dark}mloss 0.123 steps 1024\x1b[0m")
    written = difference.reduce(
        f"\x1b[2;1H\x1b[38;2;9;9;9;{dark}mloss 0.124 steps \x1b[0m\x1b[38;2;5;5;5;{dark}m1024\x1b[0m"
    )
    assert written == f"\x1b[2;10H\x1b[38;2;9;9;9;{dark}m4\x1b[2;18H\x1b[38;2;5;5;5m1024\x1b[0m"


def test_a_blank_needs_no_colour_of_letters():
    difference = TerminalDiff()
    difference.reduce("\x1b[1;1H\x1b[31mloss 1\x1b[0m")
    written = difference.reduce("\x1b[1;1H\x1b[31mloss\x1b[32m  \x1b[0m")
    assert written == "\x1b[1;6H "
    assert difference.reduce("\x1b[1;6H\x1b[4m \x1b[0m") == "\x1b[1;6H\x1b[4m \x1b[0m"


def test_a_terminal_that_was_resized_is_told_everything():
    difference = TerminalDiff()
    data = "\x1b[1;1Hrollout\x1b[0m"
    assert "rollout" in difference.reduce(data)
    assert difference.reduce(data + "\x1b[1;1H") == "\x1b[1;1H"
    difference.forget()
    assert "rollout" in difference.reduce(data)


@pytest.mark.parametrize("data", ["\x1b[?1049h", "\x1b]52;c;YQ==\x07", "\x1b[5n", "\x1b[38;2;1m", "\x1b[?47h"])
def test_other_sequences_go_out_as_they_are(data: str):
    assert TerminalDiff().reduce(data) == data


def test_an_update_that_changes_nothing_is_not_even_announced():
    difference = TerminalDiff()
    data = "\x1b[1;1Hrollout\x1b[1;1H"
    assert difference.reduce(SYNC_START) == ""
    assert difference.reduce(data).startswith(SYNC_START)
    assert difference.reduce(SYNC_END) == SYNC_END
    assert [difference.reduce(part) for part in (SYNC_START, data, SYNC_END)] == ["", "", ""]


async def test_a_whole_session_looks_the_same():
    """Training, the game, other screens and dialogs, keys: every picture on the way, with fewer bytes."""
    written: list[str] = []
    console = Console(force_terminal=True, color_system="truecolor")
    events = list(recorded(24))
    async with desk(*events[:20], fps=15.0) as it:

        def display(screen, update) -> None:
            if update is not None:
                written.append(update.render_segments(console) + "\x1b[1;1H")

        it.app._display = display
        it.app.screen.refresh()
        await it.say(clip(4))
        for start in range(20, len(events), 12):
            await it.say(*events[start : start + 12])
            await it.pass_time(0.6)
        for key in ("question_mark", "q", "e", "down", "plus", "escape", "m", "left", "escape", "r", "escape", "tab"):
            await it.press(key)
            await it.pass_time(0.2)
    difference = TerminalDiff()
    reduced = [difference.reduce(data) for data in written]
    full, less = (pyte.Screen(120, 40) for _ in range(2))
    streams = pyte.Stream(full), pyte.Stream(less)
    for whole, part in zip(written, reduced, strict=True):
        streams[0].feed(whole)
        streams[1].feed(part)
        assert less.display == full.display
    assert shown(reduced, 120, 40) == shown(written, 120, 40)
    assert len("".join(reduced)) < 0.5 * len("".join(written))


def test_news_of_another_size_may_come_from_another_thread_in_the_middle_of_an_update():
    difference = TerminalDiff()
    data = "\x1b[1;1H\x1b[1mrollout\x1b[0m\x1b[1;1H"
    difference.reduce(data)
    measure = terminal_diff.cell_len

    def interrupted(text: str) -> int:
        difference.forget()
        return measure(text)

    news = data.replace("rollout", "progress ȸ")  # a letter of no other test: what was measured is kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal_diff, "cell_len", interrupted)
        assert "progress" in difference.reduce(news)
    assert difference.reduce(SYNC_START) == ""
    assert "progress" in difference.reduce(news)


def test_a_screen_keeps_each_kind_of_cell_once():
    lines = [f"\x1b[{row};1H\x1b[38;5;{row % 7}m{'abc de ' * 17}\x1b[0m" for row in range(1, 41)]
    difference = TerminalDiff()
    gc.collect()
    before = sys.getallocatedblocks()
    for line in lines:
        difference.reduce(line)
    assert sys.getallocatedblocks() - before < 40 * 119 / 4
