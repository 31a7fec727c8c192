"""Charts in pixels: where everything is, and that anything can be painted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui.plotting.braille import Pattern
from ppo_tui.plotting.marks import Mark, MarkKind
from ppo_tui.plotting.picture import STYLES
from ppo_tui.plotting.plot import Line, Plotted, plot
from ppo_tui.plotting.raster import paint

CELL = (10, 20)
COLOURS = {"background": (0, 0, 0)} | {style: (number + 1, 200, 0) for number, style in enumerate(STYLES)}
"""Each style has a red of its own."""


def full(style: str) -> tuple[int, int, int]:
    return COLOURS[style]


def places(pixels: np.ndarray, style: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of pixels in the whole colour of a style."""
    return np.nonzero((pixels == full(style)).all(axis=2))


def line(y: list[float] | np.ndarray, style: str = "curve-1", **options) -> Line:
    return Line(np.linspace(0.0, 1.0, len(y)), np.array(y, float), style, **options)


def test_a_curve_is_where_the_labels_of_its_axis_say():
    plotted = plot([line(np.linspace(0, 100, 1001))], 80, 17)
    pixels = paint(plotted, CELL, COLOURS)
    assert pixels.shape == (16 * 20, plotted.width * 10, 3)
    rows, columns = places(pixels, "curve-1")
    (pane,) = plotted.panes
    assert len(pane.labels) > 3
    for row, label in pane.labels.items():
        at = min(int(float(label) / 100 * pixels.shape[1]), pixels.shape[1] - 1)
        middle = rows[columns == at].mean()
        assert 20 * row - 10 <= middle <= 20 * (row + 1) + 10, "at most half a cell beside its label"
    assert abs(np.diff([rows[columns == at].mean() for at in range(10, 700)]).mean() + 318 / 740) < 0.02, "and straight"


@pytest.mark.parametrize("pattern", list(Pattern))
def test_pixels_lie_where_the_dots_of_braille_do(pattern):
    waves = np.sin(np.linspace(0, 12, 500)) * np.linspace(0, 1, 500)
    waves[200:230] = np.nan
    lines = [
        line(waves, pattern=pattern),
        line(np.cos(waves) * 5, "curve-2", pane=1),
        line(waves, "shadow", points=True),
    ]
    plotted = plot(lines, 90, 24)
    assert len(plotted.panes) == 2
    pixels = paint(plotted, CELL, COLOURS)
    dots = plotted.picture.chars[: plotted.height, plotted.left :] != ord(" ")
    lit = (pixels[..., 1] > 100).reshape(plotted.height, 20, plotted.width, 10).any(axis=(1, 3))
    around = np.pad(lit, 1)
    near = np.any([around[y : y + dots.shape[0], x : x + dots.shape[1]] for y in range(3) for x in range(3)], axis=0)
    assert not (dots & ~near).any()
    assert (lit & ~dots).mean() < 0.1


def test_what_stands_before_the_curves_is_seen_and_what_stands_behind_is_not():
    level = np.full(50, 3.0)
    lines = [
        line(level, "reference", shadow=True),
        line(level, "threshold", shadow=True, guide=True),
        Line(np.array([0.25]), np.array([3.0]), "curve-3", shadow=True, points=True, sign="★"),
        line(np.linspace(2, 3, 40), "curve-2", letter="B"),
        line(level, "curve-1"),
    ]
    marks = [Mark(0.5, kind, "") for kind in MarkKind]
    plotted = plot(lines, 60, 13, marks=marks, cursor=0.75)
    pixels = paint(plotted, CELL, COLOURS, marks=marks, cursor=0.75)
    assert not len(places(pixels, "threshold")[0])
    assert len(set(places(pixels, "cursor")[1])) == 1
    assert places(pixels, "cursor")[0].max() == pixels.shape[0] - 1
    feet, columns = places(pixels, "mark")
    middle = pixels.shape[1] // 2
    signs = feet[abs(columns - middle) > 1]
    assert signs.min() > 12 * 20 - 3 * 20, "three signs, one above the other, at the foot"
    assert {int(row) // 20 for row in signs} == {9, 10, 11}
    stars, at = places(pixels, "curve-3")
    assert len(stars) > 20
    assert abs(at.mean() - pixels.shape[1] / 4) < 10
    rows, columns = places(pixels, "curve-1")
    assert len(rows[abs(columns - 0.75 * pixels.shape[1]) < 1]) > 4, "a disc where the cursor meets it"
    _, columns = places(pixels, "curve-2")
    assert columns.max() > pixels.shape[1] - 10, "the letter stands at its end"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(allow_subnormal=False), max_size=30),
    st.lists(st.floats(-1.0, 2.0) | st.just(float("nan")), max_size=5),
    st.tuples(st.integers(1, 60), st.integers(1, 12)),
    st.tuples(st.integers(1, 24), st.integers(1, 50)),
    st.booleans(),
    st.sampled_from(list(Pattern)),
)
def test_anything_that_can_be_plotted_can_be_painted(y, at, size, cell, log, pattern):
    x = np.sort(np.array(at)) if len(at) == len(y) else np.linspace(0, 1, len(y))
    curve, cloud = Line(x, np.array(y), "curve-1", pattern, letter="é"), Line(x, np.array(y), "shadow", points=True)
    marks = [Mark(step, MarkKind(number % 3), "") for number, step in enumerate(at)]
    cursor = at[0] if at else None
    plotted = plot([cloud, curve], *size, log=log, marks=marks, cursor=cursor)
    pixels = paint(plotted, cell, COLOURS, marks=marks, cursor=cursor)
    assert pixels.shape == (plotted.height * cell[1], plotted.width * cell[0], 3)
    assert pixels.dtype == np.uint8


def test_without_data_there_is_nothing_to_paint():
    assert paint(plot([], 20, 5), CELL, COLOURS).size == 0
    assert Plotted(plot([], 20, 5).picture, 0, 20, (0.0, 1.0)).height == 0
