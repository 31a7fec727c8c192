"""Themes, plain characters, and no colour at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from ppo_tui.errors import UsageError
from ppo_tui.protocol import WorkerInfo, WorkersStatus, WorkerState
from ppo_tui.tui.screen_options import Look, choose_look
from ppo_tui.tui.theme import plain
from ppo_tui.tui.widgets.workers import Workers
from tests.tui.desk import FAILURE, desk
from tests.tui.fake import recorded


@given(st.text())
def test_plain_text_is_ascii_and_takes_the_same_room(text):
    assert plain(text).isascii()
    assert cell_len(plain(text)) == cell_len(text)


@pytest.mark.parametrize("size", [(60, 16), (120, 40)])
async def test_the_whole_screen_in_ascii(size):
    async with desk(*recorded(40), FAILURE, size=size, look=Look(ascii=True)) as it:
        for key in ("", "e", "A", "C", "question_mark", "q"):
            if key:
                await it.press(key)
            written = it.app.screen._compositor.render_update(full=True).render_segments(it.app.console)
            assert written.isascii()
            await it.press("escape")


@pytest.mark.parametrize(("encoding", "ascii"), [("UTF-8", False), ("utf8", False), ("ISO-8859-1", True)])
def test_a_locale_without_utf8_asks_for_ascii(monkeypatch, encoding, ascii):
    monkeypatch.setattr("locale.getencoding", lambda: encoding)
    assert choose_look(None, False) == Look("dark", ascii)
    assert choose_look("light", True) == Look("light", True)


def test_an_unknown_theme_is_refused_by_name():
    with pytest.raises(UsageError, match="'anis'") as refusal:
        choose_look("anis", False)
    assert "did you mean 'ansi'" in str(refusal.value)


async def test_without_colour_nothing_is_coloured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with desk(*recorded(40)) as it:
        filters = it.app.get_line_filters()
        background = it.app.screen.background_colors[1]
        for strip in it.app.screen._compositor.render_strips():
            for each in filters:
                strip = strip.apply_filter(each, background)
            assert all(_is_grey(segment.style) for segment in strip if segment.style)


def _is_grey(style: Style) -> bool:
    colours = [colour.get_truecolor() for colour in (style.color, style.bgcolor) if colour and not colour.is_default]
    return all(colour.red == colour.green == colour.blue for colour in colours)


# ── Workers ─────────────────────────────────────────────────────────────────────────────────────────────────


def workers(*wait_shares: float, **facts) -> tuple[WorkerInfo, ...]:
    return tuple(
        WorkerInfo(
            index=index,
            pid=index,
            state=WorkerState.STEPPING,
            num_envs=1,
            wait_share=share,
            answer_share=1 - share,
            **facts,
        )
        for index, share in enumerate(wait_shares)
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("count", [4, 16, 128])
async def test_a_straggler_stands_out_by_a_sign_at_every_size(size, count):
    status = WorkersStatus(workers=workers(*[0.7] * (count - 1), 0.05))
    async with desk(*recorded(2), status, size=size) as it:
        panel = it.app.main.query_one(Workers)
        assert "◂" in it.text(Workers) + str(panel.border_subtitle)
        await it.press("2", "end")
        assert f"{count - 1}◂" in it.text(Workers) or "slow" in it.text(Workers)


async def test_states_of_workers_are_told_in_words():
    status = WorkersStatus(
        workers=(
            *workers(0.5),
            WorkerInfo(index=1, pid=1, state=WorkerState.DEAD, num_envs=1, restarts=2),
            WorkerInfo(index=2, pid=2, state=WorkerState.STARTING, num_envs=1, restarts=1),
        )
    )
    async with desk(*recorded(2), status) as it:
        for words in ("▸ stepping", "✗ dead", "↻ restart"):
            assert words in it.text(Workers)
