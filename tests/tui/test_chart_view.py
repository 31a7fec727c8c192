"""The window and the cursor that charts share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.plotting.marks import Mark, MarkKind, marks_near, neighbour
from ppo_tui.tui.chart_view import ChartView, room_to_grow
from ppo_tui.tui.widgets.chart_grid import arrange

STEPS = np.arange(1, 101) * 1000.0
EXTENT = (1000.0, 100_000.0)


def moves():
    return st.one_of(
        st.tuples(st.just("zoom"), st.sampled_from([0.5, 2.0, 0.8])),
        st.tuples(st.just("pan"), st.sampled_from([-0.25, 0.25, -3.0, 3.0])),
        st.tuples(st.just("cursor"), st.sampled_from([-10, -1, 1, 10])),
        st.tuples(st.just("reset"), st.just(0)),
    )


def play(view: ChartView, moves) -> None:
    for name, by in moves:
        if name == "zoom":
            view.zoom(by, EXTENT, len(STEPS))
        elif name == "pan":
            view.pan(by, EXTENT)
        elif name == "cursor":
            view.move_cursor(by, 80, STEPS, EXTENT)
        else:
            view.reset()


@given(st.lists(moves(), max_size=40))
def test_whatever_is_pressed_the_window_lies_on_the_curves_and_the_cursor_on_a_point(pressed):
    view = ChartView()
    play(view, pressed)
    left, right = view.window(EXTENT, grows=False)
    assert EXTENT[0] <= left + 1e-6 < right <= EXTENT[1] + 1e-6
    assert view.cursor is None or view.cursor in STEPS


@given(st.lists(moves(), max_size=20), st.sampled_from([-10, -1, 1, 10]))
def test_a_moved_cursor_is_in_the_window(pressed, by):
    view = ChartView()
    play(view, pressed)
    view.move_cursor(by, 80, STEPS, EXTENT)
    left, right = view.window(EXTENT, grows=False)
    assert left <= view.cursor <= right


def test_the_cursor_begins_at_the_newest_point_and_moves_by_one_at_least():
    view = ChartView()
    view.move_cursor(-1, 10_000, STEPS, EXTENT)
    assert view.cursor == 100_000
    view.move_cursor(-1, 10_000, STEPS, EXTENT)
    assert view.cursor == 99_000
    view.move_cursor(1, 10, STEPS, EXTENT)
    view.move_cursor(1, 10, STEPS, EXTENT)
    assert view.cursor == 100_000
    view.move_cursor(-1, 10, STEPS, EXTENT)
    assert view.cursor == 90_000  # a tenth of the window
    view.move_cursor(1, 10, np.array([]), EXTENT)
    assert view.cursor == 90_000


def test_zooming_keeps_the_cursor_where_it_is():
    view = ChartView()
    view.look_at(25_750.0, EXTENT)
    view.zoom(0.5, EXTENT, 100)
    assert view.window(EXTENT, grows=False) == pytest.approx((13_375, 62_875))
    view.zoom(2, EXTENT, 100)
    assert view.span is None


def test_a_window_at_the_end_follows_new_points():
    view = ChartView()
    view.zoom(0.5, EXTENT, 100)
    assert view.window((1000, 200_000), grows=False) == (200_000 - view.span, 200_000)
    view.pan(-0.5, EXTENT)
    assert view.window((1000, 200_000), grows=False)[1] < 100_000
    view.pan(+9, EXTENT)
    assert view.end is None


@given(st.floats(0, 1e9), st.floats(1, 1e9))
def test_room_to_grow_is_little_and_lasts(start, span):
    end = room_to_grow((start, start + span), span)
    assert start + span <= end * (1 + 1e-9)
    assert end - start <= span * (1 + 1 / 16) * (1 + 1e-6)
    assert room_to_grow((5.0, 5.0), 0.0) == 5.0


def test_marks_near_the_cursor():
    marks = [
        Mark(10, MarkKind.EDIT, "far edit"), Mark(12, MarkKind.EDIT, "edit"), Mark(13, MarkKind.CHECKPOINT, "saved"),
    ]  # fmt: skip
    assert marks_near(marks, 13, 3)[0].text == "edit"
    assert marks_near(marks, 14, 1.5)[0].text == "saved"
    assert marks_near(marks, 50, 3) == []


def test_the_next_and_the_previous_mark():
    marks = [Mark(step, MarkKind.EDIT, "") for step in (30, 10, 20)]
    assert neighbour(marks, None, 1) == 30
    assert neighbour(marks, 10, 1) == 20
    assert neighbour(marks, 20, -1) == 10
    assert neighbour(marks, 10, -1) is None
    assert neighbour([], None, 1) is None


@pytest.mark.parametrize(
    ("size", "shape"), [((80, 13), (1, 1, 1)), ((120, 21), (3, 2, 5)), ((100, 30), (2, 3, 5)), ((300, 80), (2, 3, 5))]
)
def test_charts_are_arranged_for_the_room_that_there_is(size, shape):
    fit = arrange(*size, 5)
    assert (fit.columns, fit.rows, fit.shown) == shape


@given(st.integers(0, 320), st.integers(0, 110), st.integers(1, 20))
def test_any_arrangement_fills_its_grid(width, height, count):
    fit = arrange(width, height, count)
    assert 1 <= fit.shown <= count
    assert fit.shown - 1 + fit.first_spans == fit.columns * fit.rows
    assert 1 <= fit.first_spans <= fit.columns
