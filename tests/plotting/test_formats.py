"""Formats of numbers and durations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.plotting import formats
from ppo_tui.text import one_line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (57.31, "57.3"),
        (0.00512, "0.00512"),
        (412.4, "412"),
        (9.999, "10.0"),
        (99999, "100K"),
        (1_250_000, "1.25M"),
        (3.21e-6, "3.2e-6"),
        (0.0, "0.00"),
        (-0.0123, "-0.0123"),
        (None, "–"),
        (math.nan, "–"),
        (-math.inf, "-∞"),
        (1e300, "1e300"),
        (0.000109, "1.1e-4"),
        (0.0005, "5.0e-4"),
        (-0.000693, "-6.9e-4"),
        (-1220.4, "-1,220"),
        (7824, "7,824"),
        (999.7, "1,000"),
    ],
)
def test_numbers_have_a_fixed_count_of_digits(value, text):
    assert formats.number(value) == text


def test_an_exact_value_has_five_digits_in_the_same_notation():
    values = (0.00451237, 57.3125, 1234.56, 120_064.0, 1.5e-7, 0.0, -math.inf, math.nan)
    assert [formats.exact(value) for value in values] == [
        "0.0045124", "57.312", "1,234.6", "120,064", "1.5000e-7", "0.00", "-∞", "–",
    ]  # fmt: skip


@given(st.floats())
def test_any_number_fits_its_cells(value):
    assert 0 < len(formats.number(value)) <= formats.NUMBER_CELLS


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0012461, "0.00125"), (9.4e-4, "9.4e-4"), (0.9995, "0.9995"), (4, "4"), (None, "off"), (200_000, "200,000")],
)
def test_settings_have_three_digits_discounts_four_and_counts_all(value, text):
    assert formats.setting(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (3671, "1:01:11"), (187_000, "2d 03:56"), (None, "–"), (math.inf, "–")]
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00s"),
        (0.214, "0.21s"),
        (0.999, "1.0s"),
        (2.5, "2.5s"),
        (9.97, "10s"),
        (59.6, "1m 0s"),
        (200.0, "3m 20s"),
        (7_500.0, "2h 5m"),
        (522_100.0, "6d 1h"),
        (-1.0, "0.00s"),
        (math.inf, "–"),
        (None, "–"),
    ],
)
def test_spans_have_their_two_largest_units(seconds, text):
    assert formats.span(seconds) == text


def test_returns_and_intervals():
    assert [formats.score(value) for value in (487.25, 1234.5, -21.0, None, math.nan)] == [
        "487.25",
        "1,234.50",
        "-21.00",
        "–",
        "–",
    ]
    assert formats.score(1234.56, 1) == "1,234.6"
    assert formats.interval(471.1, 1499.0) == "[471.10, 1,499.00]"
    assert formats.interval(None, 1.0) == formats.interval(math.nan, math.nan) == "–"


def test_text_from_elsewhere_cannot_move_the_cursor():
    assert one_line("a\x1b[2Jb\nc") == "a�[2Jb c"


@pytest.mark.parametrize(("value", "text"), [(math.inf, "∞"), (-math.inf, "-∞"), (math.nan, "–"), (1e15, "1000T")])
def test_a_count_of_anything_is_a_text(value, text):
    assert formats.count(value) == text


def test_a_score_of_hundreds_of_digits_takes_no_more_room_than_another():
    assert [formats.score(value) for value in (1e308, -1e308, math.inf)] == ["1e308", "-1e308", "∞"]
