"""Lines as strips: the same cells as Textual would make of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content, Span
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions

from ppo_tui.tui.widgets.line_strips import LineStrips

BASE = Style.parse("#d8dee4 on #101418")
STYLES = ("", "bold", "red", "#ff0000 on #00ff00 50%", "bold reverse", "italic on blue")
TEXTS = st.text("ab1 ─━▸漢é", max_size=20)


def cells(strip: Strip) -> list[tuple[str, object]]:
    return [(char, style.without_color if style is None else style) for text, style, _ in strip for char in text]


@st.composite
def lines(draw) -> Content:
    text = draw(TEXTS)
    edges = st.integers(0, len(text))
    spans = draw(st.lists(st.tuples(edges, edges, st.sampled_from(STYLES)), max_size=4))
    return Content(text, [Span(min(a, b), max(a, b), style) for a, b, style in spans])


@given(line=lines(), room=st.integers(0, 5))
def test_they_are_those_of_textual_with_blanks_behind_them(line, room):
    width = line.cell_length + room
    ours = LineStrips(BASE).strip(line, width)
    assert ours.cell_length == width
    options = RenderOptions(Style.parse, {"text_wrap": "nowrap"})
    theirs = line.render_strips(width, 1, BASE, options)[0] if width else Strip([])
    expected = [(char, str(style)) for text, style, _ in theirs.simplify() for char in text]
    got = [(char, str(style)) for text, style, _ in ours for char in text]
    assert got[: len(expected)] == expected
    assert all(char == " " for char, _ in got[len(expected) :])
