"""Growing curves and their smoothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.tui import formats
from ppo_tui.tui.metrics import sparkline, trend
from ppo_tui.tui.series import Series, bucket_means, smoothed


def test_a_series_keeps_everything_it_was_given():
    series = Series()
    for step in range(1000):
        series.append(step, None if step % 7 == 0 else step / 2)
    assert len(series) == 1000
    assert series.steps.tolist() == list(range(1000))
    assert math.isnan(series.values[7])
    assert series.values[999] == series.last == 499.5


def test_steps_never_run_backwards():
    series = Series()
    for step in (5, 3, 9):
        series.append(step, 1.0)
    assert series.steps.tolist() == [5, 5, 9]


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=300), st.integers(1, 50))
def test_smoothing_stays_within_the_data_and_skips_gaps(values, count):
    steps, y = np.arange(len(values), dtype=float), np.array(values, dtype=float)
    at, averages = smoothed(steps, y, count)
    assert len(at) == len(averages) == min(len(values), count)
    finite = averages[np.isfinite(averages)]
    if len(finite):
        slack = 1e-6 * max(1.0, np.nanmax(np.abs(y)))
        assert np.nanmin(y) - slack <= finite.min()
        assert finite.max() <= np.nanmax(y) + slack


def test_smoothing_leaves_a_constant_alone_and_calms_noise():
    steps = np.arange(1000.0)
    assert smoothed(steps, np.full(1000, 3.0), 100)[1] == pytest.approx(3.0)
    noise = np.random.default_rng(0).normal(size=1000)
    assert smoothed(steps, noise, 1000)[1][100:].std() < noise.std() / 3


def test_bucket_means_are_means_of_neighbours():
    assert bucket_means(np.array([1.0, 3.0, np.nan, 7.0]), 2).tolist() == [2.0, 7.0]


def test_the_trend_needs_a_move_beyond_the_noise():
    rng = np.random.default_rng(1)
    assert trend(np.linspace(0, 1, 30)) == 1
    assert trend(np.linspace(1, 0, 30)) == -1
    assert trend(np.tile([1.0, 2.0], 10)) == 0
    assert trend(np.array([1.0, 2.0])) == 0
    assert trend(rng.normal(size=0)) == 0


def test_a_sparkline_shows_the_shape():
    assert sparkline(np.array([0.0, 1.0, np.nan, 2.0])) == "▁▅ █"
    assert sparkline(np.array([2.0, 2.0])) == "▁▁"


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
    ],
)
def test_numbers_have_a_fixed_count_of_digits(value, text):
    assert formats.number(value) == text


@given(st.floats())
def test_any_number_is_short(value):
    assert 0 < len(formats.number(value)) <= 9


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (3671, "1:01:11"), (187_000, "2d 03:56"), (None, "–"), (math.inf, "–")]
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


def test_text_from_elsewhere_cannot_move_the_cursor():
    assert formats.one_line("a\x1b[2Jb\nc") == "a�[2Jb c"
