"""Means, intervals and stragglers, against values by hand and by properties."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ppo_tui.statistics import bootstrap, interquartile_mean, mean, slowdowns, stragglers

SCORES = arrays(np.float64, st.integers(2, 12), elements=st.floats(-1e6, 1e6))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7], 7),
        ([1, 2, 9], 4),  # ⌊3/4⌋ = 0: nothing is cut
        ([0, 1, 2, 100], 1.5),
        ([5, 4, 1000, 3, -1000], 4),
        ([8, 1, 7, 2, 6, 3, 5, 4], 4.5),  # the mean of 3, 4, 5, 6
    ],
)
def test_the_interquartile_mean_is_that_of_the_middle_half(scores, expected):
    assert interquartile_mean(np.array([scores], float))[0] == pytest.approx(expected)


def test_two_scores_resample_to_either_or_to_their_mean():
    """Of two runs a quarter of the resamples has the first twice, and a quarter the second."""
    estimate = bootstrap([np.array([0.0, 1.0])])
    assert tuple(map(float, estimate)) == (0.5, 0.0, 1.0)
    half = bootstrap([np.array([0.0, 1.0])], level=0.45)
    assert tuple(map(float, half)) == (0.5, 0.5, 0.5)


def test_the_interval_of_many_normal_scores_is_the_textbook_one():
    scores = np.random.default_rng(1).normal(10, 3, 400)
    estimate = bootstrap([scores])
    half = 1.96 * scores.std() / 20
    assert estimate.low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        estimate = bootstrap([rng.exponential(1.0, 50)], resamples=1000)
        hits += bool(estimate.low <= 1.0 <= estimate.high)
    assert 0.88 <= hits / 300 <= 0.98


def test_strata_are_resampled_each_from_itself():
    one, other = np.zeros(3), np.full(3, 10.0)
    assert tuple(map(float, bootstrap([one, other]))) == (5.0, 5.0, 5.0)
    mixed = bootstrap([np.concatenate([one, other])])
    assert mixed.low < 5.0 < mixed.high


def test_a_single_score_has_no_interval():
    estimate = bootstrap([np.array([[1.0, 2.0]])])
    assert estimate.value.tolist() == [1.0, 2.0]
    assert np.isnan(estimate.low).all()
    assert np.isnan(estimate.high).all()


@given(SCORES, st.floats(0.01, 100), st.floats(-1e3, 1e3))
@settings(max_examples=40)
def test_an_interval_scales_and_moves_with_the_scores(scores, factor, offset):
    plain, moved = (bootstrap([s], resamples=200) for s in (scores, factor * scores + offset))
    scale = 1 + np.abs(factor * scores).max() + abs(offset)
    for before, after in zip(plain, moved, strict=True):
        assert after == pytest.approx(factor * before + offset, abs=1e-9 * scale)


@given(SCORES, st.sampled_from([mean, interquartile_mean]))
@settings(max_examples=40)
def test_an_interval_lies_within_the_scores(scores, statistic):
    estimate = bootstrap([scores], statistic, resamples=200)
    slack = 1e-9 * (1 + np.abs(scores).max())
    assert scores.min() - slack <= estimate.low <= estimate.high <= scores.max() + slack


@given(arrays(np.float64, (4, 6), elements=st.floats(-100, 100)))
@settings(max_examples=20)
def test_the_points_of_a_curve_have_the_intervals_that_they_would_have_alone(curves):
    together = bootstrap([curves], resamples=300)
    alone = [bootstrap([curves[:, point]], resamples=300) for point in range(6)]
    assert together.low == pytest.approx([float(each.low) for each in alone])
    assert together.high == pytest.approx([float(each.high) for each in alone])


@given(st.dictionaries(st.integers(0, 99), st.floats(0, 1), max_size=9))
def test_a_slowdown_is_measured_against_the_median_of_the_others(busy):
    for worker, factor in slowdowns(busy).items():
        others = [share for other, share in busy.items() if other != worker]
        if busy[worker] < 0.3 or not others:
            assert factor == 1.0
        else:
            assert factor == pytest.approx(busy[worker] / max(statistics.median(others), 1e-9))


def test_a_straggler_takes_twice_as_long_as_the_others():
    assert stragglers({0: 0.3, 1: 0.28, 2: 0.9, 3: 0.31}) == {2}
    assert stragglers({0: 0.5, 1: 0.48, 2: 0.52, 3: 0.5}) == frozenset()
    assert stragglers({0: 0.9, 1: 0.1}) == {0}
    assert stragglers({0: 0.02, 1: 0.29}) == frozenset(), "nobody waits long for a worker that is idle"
    assert stragglers({0: 1.0}) == stragglers({}) == frozenset()
