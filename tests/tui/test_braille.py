"""The braille renderer: every size, every oddity of data, and no lost spike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ppo_tui.tui.widgets import axis
from ppo_tui.tui.widgets.braille import Pattern, draw, envelope, pack, to_text
from ppo_tui.tui.widgets.plot import Line, plot

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
CURVES = st.integers(0, 60).flatmap(lambda n: npst.arrays(np.float64, n, elements=ANY_FLOAT))


def line(values, **options) -> Line:
    y = np.asarray(values, dtype=float)
    return Line(np.arange(len(y), dtype=float), y, options.pop("style", "curve"), **options)


def text(rows) -> list[str]:
    return ["".join(piece for piece, _ in row) for row in rows]


@given(CURVES, CURVES, st.integers(1, 70), st.integers(1, 24), st.booleans())
def test_any_curves_fill_any_size_exactly(first, second, width, height, log):
    rows = plot([line(first, shadow=True), line(second, pane=1)], width, height, log=log, marks=[0, 3, 1e9])
    assert len(rows) == height
    assert {len(row) for row in text(rows)} == {width}


@given(CURVES.filter(len), st.integers(1, 80))
def test_decimation_keeps_every_extreme(values, columns):
    x = np.arange(len(values), dtype=float)
    low, high = envelope(x, values, (0.0, max(1.0, x[-1])), columns)
    finite = values[np.isfinite(values)]
    if len(finite):
        assert np.nanmin(low) == finite.min()
        assert np.nanmax(high) == finite.max()
    else:
        assert np.isnan(low).all()


def test_one_spike_among_a_million_points_reaches_the_top():
    values = np.zeros(1_000_000)
    values[654_321] = 1.0
    low, high = envelope(np.arange(1e6), values, (0.0, 1e6), 200)
    dots = draw(low, high, (0.0, 1.0), height=10)
    assert dots[0].nonzero()[0].tolist() == [130]  # 654,321 of a million, in the 200 columns of dots
    assert dots[-1].all()


def test_a_rising_line_is_a_diagonal():
    assert text(plot([line([0, 1, 2, 3])], 2, 1)) == ["⡤⠞"]


def test_a_constant_lies_in_the_middle():
    assert text(plot([line([5, 5, 5])], 4, 1)) in (["⠒⠒⠒⠒"], ["⠤⠤⠤⠤"])


def test_a_single_point_is_a_dot():
    drawn = "".join(text(plot([line([5])], 5, 3))).replace(" ", "")
    assert len(drawn) == 1
    assert bin(ord(drawn) - 0x2800).count("1") == 1


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_a_gap(gap):
    (row,) = text(plot([line([1, 1, 1, gap, gap, gap, 1, 1, 1])], 18, 1))
    assert row.strip() != ""
    assert "     " in row.strip()  # nothing is drawn across the gap


def test_points_far_apart_are_joined():
    low, high = envelope(np.array([0.0, 10.0]), np.array([0.0, 1.0]), (0.0, 10.0), 20)
    assert np.isfinite(low).all()
    assert np.all(low[1:] == pytest.approx(high[:-1]))  # each column begins where the one before it ends


def test_patterns_differ_without_colour():
    low = high = np.full(24, 0.5)
    drawn = {pattern: to_text(pack(draw(low, high, (0, 1), 1, pattern)))[0] for pattern in Pattern}
    assert len(set(drawn.values())) == len(Pattern)
    steep = {p: tuple(to_text(pack(draw(low * 0, high * 2, (0, 1), 4, p)))) for p in Pattern}
    assert len(set(steep.values())) == len(Pattern)


def test_the_curve_in_front_hides_its_shadow_and_keeps_its_style():
    behind, front = line([0, 9] * 40, shadow=True, style="shadow"), line([4.5] * 80, style="curve")
    rows = plot([behind, front], 20, 3)
    axis_label, *middle = rows[1]
    assert axis_label == ("5┤", "curve")
    assert middle == [("⠤" * 18, "curve")]
    assert any(style == "shadow" for _, style in rows[0])


def test_curves_of_different_units_have_panes_of_their_own():
    rows = text(plot([line([0, 1, 2]), line([100, 200, 300], pane=1)], 40, 9))
    assert any(row.startswith("  2┤") for row in rows[:4])
    assert any(row.startswith("200┤") for row in rows[4:8])


def test_a_logarithmic_axis_spaces_decades_evenly_and_says_when_it_has_nothing():
    rows = text(plot([line([1, 10, 100, 1000, 10000])], 30, 10, log=True))
    labelled = [index for index, row in enumerate(rows) if "┤" in row]
    assert len(set(np.diff(labelled))) == 1
    assert "no values above zero" in "".join(text(plot([line([-1, -2])], 30, 5, log=True)))


@given(
    st.floats(-1e12, 1e12, allow_subnormal=False),
    st.floats(1e-6, 1e12, allow_subnormal=False),
    st.integers(1, 12),
)
def test_ticks_are_few_round_and_within(low, span, most):
    high = low + span
    ticks = axis.linear_ticks(low, high, most)
    assert len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)


def test_labels_are_short_and_round():
    assert axis.labels([0.0, 250_000.0, 500_000.0]) == ["0", "250K", "500K"]
    assert axis.labels([0.0, 500_000.0, 1_000_000.0]) == ["0", "0.5M", "1.0M"]
    assert axis.labels([0.05, 0.1, 0.15]) == ["0.05", "0.10", "0.15"]
    assert axis.labels([-2e-5, 0.0, 2e-5]) == ["-2e-5", "0", "2e-5"]


@settings(max_examples=30)
@given(st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=30))
def test_logarithmic_ticks_lie_within(values):
    low, high = min(values), max(values)
    assert all(low <= tick <= high for tick in axis.log_ticks(low, high, 5))
    assert len(axis.log_ticks(low, high, 5)) <= 5
