"""The braille renderer: every size, odd data, and no lost spike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ppo_tui.plotting import axes
from ppo_tui.plotting.braille import ASCII, BRAILLE, Pattern, draw, envelope, pack
from ppo_tui.plotting.marks import Mark, MarkKind, marks_near
from ppo_tui.plotting.picture import Entry, Picture, write_legend
from ppo_tui.plotting.plot import Line, plot
from tests.memory import memory_below

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
CURVES = st.integers(0, 60).flatmap(lambda n: npst.arrays(np.float64, n, elements=ANY_FLOAT))


def line(values, **options) -> Line:
    y = np.asarray(values, dtype=float)
    return Line(np.arange(len(y), dtype=float), y, options.pop("style", "curve-1"), **options)


def text(lines, width, height, **options) -> list[str]:
    return plot(lines, width, height, **options).picture.text()


def edit(step: float) -> Mark:
    return Mark(step, MarkKind.EDIT, "gamma 0.99 → 0.995")


WINDOWS = st.none() | st.tuples(st.floats(-5, 60), st.floats(0, 30)).map(lambda ends: (ends[0], ends[0] + ends[1]))


@given(
    st.tuples(CURVES, CURVES, CURVES), st.integers(1, 70), st.integers(1, 24), st.booleans(), WINDOWS,
    st.none() | st.floats(-5, 65), st.sampled_from([ASCII, BRAILLE]),
)  # fmt: skip
def test_any_curves_fill_any_size_exactly(curves, width, height, log, window, cursor, glyphs):
    first, second, third = curves
    lines = [line(first, shadow=True), line(second, letter="B"), line(third, pane=1, pattern=Pattern.DASH_DOT)]
    marks = [edit(0), Mark(3, MarkKind.CHECKPOINT, ""), Mark(1e9, MarkKind.REWIND, ""), Mark(7, MarkKind.REWIND, "")]
    rows = text(lines, width, height, x_range=window, log=log, marks=marks, cursor=cursor, glyphs=glyphs)
    assert len(rows) == height
    assert {len(row) for row in rows} == {width}
    assert glyphs is BRAILLE or "".join(rows).isascii()


@pytest.mark.parametrize("values", [[], [7.0], [7.0] * 50, [np.nan] * 50, [np.inf, -np.inf], np.arange(50.0)])
@pytest.mark.parametrize("glyphs", [ASCII, BRAILLE], ids=["ascii", "braille"])
def test_every_size_from_one_cell_on(values, glyphs):
    for width in range(1, 41, 3):
        for height in range(1, 13):
            rows = text([line(values)], width, height, cursor=3.0, marks=[edit(2)], glyphs=glyphs)
            assert [len(row) for row in rows] == [width] * height


def test_a_million_points_are_drawn_as_they_are():
    rows = text([line(np.repeat([0.0, 1.0], 500_000))], 40, 8)
    assert rows[0].rstrip()[-10:] == "⠉" * 10
    assert set(rows[6].partition("┤")[2][:15]) == {"⣀"}


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
    dots = draw(low, high, (0.0, 1.0), rows=40)
    assert dots[0].nonzero()[0].tolist() == [130]  # 654,321 of a million, in the 200 columns of dots
    assert dots[-1].all()


def test_drawing_a_chart_of_a_whole_screen_takes_little_memory():
    rng = np.random.default_rng(0)
    lines = [line(rng.random(4096), pattern=pattern, shadow=pattern is not Pattern.SOLID) for pattern in Pattern]
    plot(lines, 118, 36)
    with memory_below(250_000):
        plot(lines, 118, 36)


def test_a_rising_line_is_a_diagonal():
    assert text([line([0, 1, 2, 3])], 2, 1) == ["⡤⠞"]


def test_a_constant_lies_in_the_middle():
    assert text([line([5, 5, 5])], 4, 1) in (["⠒⠒⠒⠒"], ["⠤⠤⠤⠤"])


def test_a_single_point_is_a_dot():
    drawn = "".join(text([line([5])], 5, 3)).replace(" ", "")
    assert len(drawn) == 1
    assert bin(ord(drawn) - 0x2800).count("1") == 1


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_a_gap(gap):
    (row,) = text([line([1, 1, 1, gap, gap, gap, 1, 1, 1])], 18, 1)
    assert row.strip() != ""
    assert "     " in row.strip()  # nothing is drawn across the gap


def test_points_far_apart_are_joined():
    low, high = envelope(np.array([0.0, 10.0]), np.array([0.0, 1.0]), (0.0, 10.0), 20)
    assert np.isfinite(low).all()
    assert np.all(low[1:] == pytest.approx(high[:-1]))  # each column begins where the one before it ends


@pytest.mark.parametrize("glyphs", [ASCII, BRAILLE], ids=["ascii", "braille"])
def test_patterns_differ_without_colour(glyphs):
    level = np.full(24 * glyphs.columns, 0.5)
    flat, steep = set(), set()
    for pattern in Pattern:
        flat.add(pack(draw(level, level, (0, 1), glyphs.rows, pattern), glyphs).tobytes())
        steep.add(pack(draw(level * 0, level * 2, (0, 1), 4 * glyphs.rows, pattern), glyphs).tobytes())
    assert len(flat) == len(steep) == len(Pattern)
    assert len(set(glyphs.samples.values())) == len(Pattern)


@pytest.mark.parametrize(("glyphs", "drawn"), [(BRAILLE, "⠤"), (ASCII, "-")], ids=["braille", "ascii"])
def test_the_curve_in_front_hides_its_shadow_and_keeps_its_style(glyphs, drawn):
    behind, front = line([0, 9] * 40, shadow=True, style="shadow"), line([4.5] * 80, style="curve-1")
    picture = plot([behind, front], 20, 3, glyphs=glyphs).picture
    assert picture.row(1) == [(f"5{glyphs.tick}" + drawn * 18, "curve-1")]
    assert any(style == "shadow" for _, style in picture.row(0))
    cells = [(char, style) for piece, style in picture.row(1) for char in piece]
    assert [(char, style) for piece, style in picture.row(1, 3, 9) for char in piece] == cells[3:9]


def test_curves_of_different_units_have_panes_of_their_own():
    rows = text([line([0, 1, 2]), line([100, 200, 300], pane=1)], 40, 9)
    assert any(row.startswith("  2┤") for row in rows[:4])
    assert any(row.startswith("200┤") for row in rows[4:8])


def test_a_logarithmic_axis_spaces_decades_evenly_and_says_when_it_has_nothing():
    rows = text([line([1, 10, 100, 1000, 10000])], 30, 10, log=True)
    labelled = [index for index, row in enumerate(rows) if "┤" in row]
    assert len(set(np.diff(labelled))) == 1
    assert "no values above zero" in "".join(text([line([-1, -2])], 30, 5, log=True))


def test_growth_by_the_same_factor_is_a_straight_line_on_a_logarithmic_axis():
    assert text([line([1, 10, 100, 1000])], 2, 1, log=True) == text([line([0, 1, 2, 3])], 2, 1)


def test_values_that_a_logarithmic_axis_lacks_are_gaps():
    (row,) = text([line([1, 1, 1, 0, -1, 0, 1, 1, 1])], 18, 1, log=True)
    assert "     " in row.strip()


@pytest.mark.parametrize("values", [[0.0041, 0.0049], [41.0, 49.0], [5e-324, 1e-320], [1e300, 1.7e308]])
def test_a_part_of_a_decade_still_has_labels(values):
    assert sum("┤" in row for row in text([line(values)], 40, 12, log=True)) >= 1


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e9, 1e300])
def test_a_shape_looks_the_same_at_every_magnitude(scale):
    shape = np.linspace(0, 1, 40) ** 2
    low, high = envelope(np.arange(40.0), shape * scale, (0.0, 39.0), 60)
    expected = envelope(np.arange(40.0), shape, (0.0, 39.0), 60)
    assert np.array_equal(draw(low, high, (0, scale), 32), draw(*expected, (0, 1), 32))
    assert any("┤" in row for row in text([line(shape * scale)], 40, 9))


# ── Points, guides, flat curves ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("glyphs", [ASCII, BRAILLE], ids=["ascii", "braille"])
def test_points_are_joined_by_nothing(glyphs):
    games = line([0, 1] * 200, points=True, shadow=True)
    rows = [row[4:] for row in text([games], 40, 12, glyphs=glyphs)]
    assert rows[0].strip()
    assert rows[10].strip()
    assert "".join(rows[1:10]).strip() == ""
    assert all(row[4:].strip() for row in text([line([0, 1] * 200)], 40, 12, glyphs=glyphs))


def test_a_curve_that_hardly_moves_looks_flat():
    for log in (False, True):
        rows = text([line(np.linspace(1.381, 1.378, 50))], 40, 12, log=log)
        drawn = [index for index, row in enumerate(rows[:-1]) if any("⠁" <= char <= "⣿" for char in row)]
        assert drawn in ([5], [5, 6], [6], [4, 5]), rows


def test_a_guide_is_drawn_where_it_is_near_and_leaves_the_axis_alone_where_it_is_far():
    def drawn(level: float) -> tuple[list[str], set[str]]:
        guide = Line(np.array([0.0, 9.0]), np.full(2, level), "threshold", Pattern.DASHED, shadow=True, guide=True)
        picture = plot([guide, line(np.linspace(0, 50, 10))], 40, 12).picture
        return picture.text(), {style for row in picture.rows() for _, style in row}

    near, styles = drawn(90.0)
    assert "threshold" in styles
    assert near != text([line(np.linspace(0, 50, 10))], 40, 12)
    far, styles = drawn(475.0)
    assert "threshold" not in styles
    assert far == text([line(np.linspace(0, 50, 10))], 40, 12)
    assert "no data yet" in "".join(text([Line(np.array([0.0, 9.0]), np.full(2, 1.0), "threshold", guide=True)], 40, 9))


def test_a_sign_stands_at_its_point():
    star = Line(np.array([5.0]), np.array([9.0]), "threshold", shadow=True, points=True, sign="★")
    rows = text([star, line(np.arange(10.0))], 40, 10)
    assert "★" in rows[0]
    assert "*" in text([star, line(np.arange(10.0))], 40, 10, glyphs=ASCII)[0]


def test_the_axis_says_its_unit_where_there_is_room():
    assert text([line(np.arange(100.0))], 60, 8, unit="steps")[-1].endswith(" steps")
    assert "steps" not in text([line(np.arange(100.0))], 20, 8, unit="steps")[-1]


def test_a_low_chart_has_two_labels_at_least():
    assert sum("┤" in row for row in text([line(np.linspace(-21, 21, 50))], 40, 7)) >= 2


# ── The legend ──────────────────────────────────────────────────────────────────────────────────────────────


def legend(width: int, *values: str) -> str:
    picture = Picture(width, 3)
    short = Entry("╌", "as shipped", "", "reference")
    longer = Entry("╌", "breakout as shipped", values[-1], "reference", short)
    entries = [Entry("━", "mean of 100 games", value, "curve-1") for value in values[:-1]]
    write_legend(picture, BRAILLE, [("Return", "title")], [*entries, longer])
    return picture.text()[0].strip()


def test_a_legend_gets_shorter_from_its_end_until_it_fits():
    assert legend(80, "482", "310") == "Return ━ mean of 100 games 482      ╌ breakout as shipped 310"
    assert legend(60, "482", "310") == "Return ━ mean of 100 games 482      ╌ as shipped"
    assert legend(40, "482", "310") == "Return ━ 482"
    assert legend(20, "482", "310").startswith("Return ━ 482")


def test_a_legend_stands_still_while_its_values_change():
    assert legend(80, "482", "310").index("╌") == legend(80, "-6.9e-4", "310").index("╌")
    for width in range(30, 90):
        shapes = {legend(width, "1", value).partition("╌")[2].rstrip("0123456789.-e ") for value in ("3", "-6.9e-4")}
        assert len(shapes) == 1, width


# ── Golden pictures ─────────────────────────────────────────────────────────────────────────────────────────

HILL = np.array([0.0, 1, 4, 9, 10, 9, 4, 1, 0, np.nan, np.nan, 5, 5])
MARKS = [edit(2), Mark(6, MarkKind.CHECKPOINT, ""), Mark(11, MarkKind.REWIND, "")]

GOLDEN_BRAILLE = [
    "10┤    ┊ ⢠⠴⠚●⠦⡄            ┊  ",
    "  │    ┊⢠⠏  ⡇ ⠹⡄           ┊  ",
    "  │    ⢀⡞   ⡇  ⢳⡀          ┊  ",
    "  │   ⢀⡼    ⡇   ⢧⡀         ⠈⠉⠉",
    "  │  ⢠⠞┊    ⡇    ⠳⡄        ┊  ",
    " 0┤⡤⠖⠋ ±    ⡇   ▴ ⠙⠲⢤⡀     ↶  ",
    "   0          5         10    ",
]
GOLDEN_ASCII = [
    "10+    : _||o|_            :  ",
    "  |    :_|  | |_           :  ",
    "  |    _|   |  |_          ___",
    "  |   _|    |   |_         :  ",
    "  |  _|:    |    |_        :  ",
    " 0+||' +    |   ^ '||_     <  ",
    "   0          5         10    ",
]
GOLDEN_LETTERS = [
    " │⠉⠉ ⠉⠉⠰⠤   ⣠⠴⠚⠁A   B   ",
    "2┤      ⢀⡭⠗⠯⡅   ⢀⠔⠁     ",
    " │   ⣠⠴⠚⠉    ⠙⠂⠔⠁       ",
    "0┤⡤⠖⠋⠁                  ",
    "  0       2        4    ",
]


def test_golden_braille():
    assert text([line(HILL)], 30, 7, marks=MARKS, cursor=4.0) == GOLDEN_BRAILLE


def test_golden_ascii():
    assert text([line(HILL)], 30, 7, marks=MARKS, cursor=4.0, glyphs=ASCII) == GOLDEN_ASCII


def test_golden_letters():
    runs = [line([0, 1, 2, 3], letter="A"), line([3, 3, 2, 1, 3], pattern=Pattern.DASHED, letter="B")]
    assert text(runs, 24, 5, x_range=(0, 5)) == GOLDEN_LETTERS


# ── Window, cursor, marks ───────────────────────────────────────────────────────────────────────────────────


def test_a_window_shows_its_steps_alone_on_an_axis_of_their_own():
    values = np.r_[np.zeros(50), np.linspace(5, 6, 50), np.full(50, 900.0)]
    rows = text([line(values)], 40, 10, x_range=(50, 99))
    assert any(row.strip().startswith("6.0┤") for row in rows)
    assert "900" not in "".join(rows)
    assert "60" in rows[-1]
    assert "no values here" in "".join(text([line(values)], 40, 10, x_range=(500, 600)))


def test_the_cursor_stands_on_the_curve():
    plotted = plot([line(np.arange(11.0), style="curve-1")], 50, 12, cursor=10.0)
    rows = plotted.picture.text()
    assert rows[0].endswith("●")
    assert "".join(rows).count("●") == 1
    assert all(row.endswith("⢸") for row in rows[2:-1])


def test_the_cursor_and_the_marks_are_seen_through_shadows():
    behind = line([0, 9] * 40, shadow=True, style="shadow")
    rows = text([behind, line([0] * 80)], 30, 9, cursor=40.0, marks=[edit(20)])
    assert all(any(char in row for char in "⡇⢸") and "┊" in row for row in rows[:-2])


def test_a_column_of_cells_knows_its_step():
    plotted = plot([line(np.arange(101.0))], 60, 10)
    assert plotted.position(plotted.left) == pytest.approx(0, abs=2)
    assert plotted.position(59) == pytest.approx(100, abs=2)
    assert plotted.position(0) is None


def test_letters_never_lie_on_one_another():
    runs = [line(np.full(10, 3.0), letter=letter) for letter in "ABCD"]
    assert all(letter in "".join(text(runs, 40, 6)) for letter in "ABCD")


@pytest.mark.parametrize(("glyphs", "signs"), [(BRAILLE, "±↶▴"), (ASCII, "+<^")], ids=["braille", "ascii"])
def test_marks_in_one_place_do_not_hide_one_another(glyphs, signs):
    marks = [Mark(20, kind, kind.name) for kind in MarkKind]
    rows = text([line([9.0] * 40)], 30, 9, marks=marks, glyphs=glyphs)
    column = rows[-2].index(signs[-1])
    assert [rows[-4 + index][column] for index in range(3)] == list(signs)
    assert [mark.text for mark in marks_near(marks, 21, 2)] == ["EDIT", "REWIND", "CHECKPOINT"]


def test_hundreds_of_marks_are_as_many_columns_as_there_are():
    marks = [edit(step) for step in np.linspace(0, 99, 500)]
    rows = text([line(np.zeros(100))], 30, 6, marks=marks)
    assert set(rows[0].partition("┤")[2]) == {"┊"}


def test_zeros_lie_on_the_floor_of_their_axis():
    rows = text([line(np.zeros(100))], 30, 9)
    assert not any("-" in row for row in rows)
    assert rows[0].strip().startswith("1")
    assert rows[-2].strip().startswith("0"), "nothing is below"
    assert "⣀⣀⣀" in rows[-2]


def test_only_what_changed_is_told():
    before, after = Picture(20, 4), Picture(20, 4)
    after.put(1, 3, "abc", "title")
    after.put(2, 0, "x", "title")
    assert after.changes(before) == [(1, 3, 3), (2, 0, 1)]
    assert after.changes(after) == []
    assert after.changes(before, (range(1, 2), range(5))) == [(1, 5, 1), (2, 0, 1)]
    assert after.put(3, 18, "日本語", "title") == 20
    assert after.text()[3].endswith("??")


def test_a_growing_curve_changes_few_cells():
    def drawn(points: int) -> Picture:
        return plot([line(np.sin(np.arange(points) / 20))], 80, 10, x_range=(0, 640)).picture

    spans = drawn(601).changes(drawn(600))
    assert sum(width for _, _, width in spans) <= 2


@given(
    st.floats(-1e12, 1e12, allow_subnormal=False),
    st.floats(1e-6, 1e12, allow_subnormal=False),
    st.integers(1, 12),
)
@example(459373130978.1555, 6.103515625e-05, 1)
def test_ticks_are_few_round_and_within(low, span, most):
    high = low + span
    ticks = axes.linear_ticks(low, high, most)
    assert len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)


@pytest.mark.parametrize("high", [5e-324, 1e-323, 1e-322, 2.2e-308])
@pytest.mark.parametrize("height", [1, 10, 40])
def test_a_curve_next_to_zero_is_drawn_with_or_without_labels(high, height):
    assert len(text([line([0.0, high])], 30, height)) == height


def test_labels_are_short_and_round():
    assert axes.labels([0.0, 250_000.0, 500_000.0]) == ["0", "250K", "500K"]
    assert axes.labels([0.0, 500_000.0, 1_000_000.0]) == ["0", "0.5M", "1.0M"]
    assert axes.labels([-1_000.0, 0.0, 1_000.0]) == ["-1,000", "0", "1,000"]  # as numbers elsewhere
    assert axes.labels([0.05, 0.1, 0.15]) == ["0.05", "0.10", "0.15"]
    assert axes.labels([-2e-5, 0.0, 2e-5]) == ["-2e-5", "0", "2e-5"]
    assert axes.labels([1.01e-5, 1.02e-5, 1.03e-5]) == ["1.01e-5", "1.02e-5", "1.03e-5"]
    assert axes.labels([5.8e-5, 6e-5, 6.2e-5]) == ["5.8e-5", "6.0e-5", "6.2e-5"]
    assert axes.labels([1_000_000.0, 1_000_200.0]) == ["1.0000M", "1.0002M"]


@settings(max_examples=30)
@given(st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=30))
def test_logarithmic_ticks_lie_within(values):
    low, high = min(values), max(values)
    ticks = axes.decade_ticks(np.log10(low), np.log10(high), 5)
    assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
    assert len(ticks) <= 5


def test_curves_of_a_legend_get_shorter_names_together():
    glyphs, picture = BRAILLE, Picture(40, 3)
    names = (("policy", "π"), ("value", "V"))
    entries = [
        Entry("━", long, "0.123", f"curve-{index}", Entry("━", short, "0.123", f"curve-{index}"))
        for index, (long, short) in enumerate(names, start=1)
    ]
    write_legend(picture, glyphs, [("Loss", "title")], entries)
    assert picture.text()[0].strip() == "Loss ━ π 0.123    ━ V 0.123"


def test_a_curve_behind_a_chart_does_not_count_as_its_data():
    behind = Line(np.array([100.0, 200.0]), np.ones(2), "reference", shadow=True)
    own = Line(np.array([]), np.array([]), "curve-1")
    shown = plot([behind, own], 40, 5, x_range=(0.0, 16.0), without_data="no data yet").picture.text()
    assert "no data yet" in "".join(shown)
