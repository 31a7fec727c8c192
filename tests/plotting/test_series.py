"""Growing curves and their smoothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.plotting.series import Sample, Series, bucket_means, extent_of, read_metrics, smoothed
from ppo_tui.tui.metrics import sparkline, trend


def test_a_series_keeps_everything_it_was_given():
    series = Series()
    for step in range(1000):
        series.append(step, None if step % 7 == 0 else step / 2)
    assert len(series) == 1000
    assert series.steps.tolist() == list(range(1000))
    assert math.isnan(series.values[7])
    assert series.values[999] == series.last == 499.5


def test_a_sample_of_single_values_is_even_and_not_of_extremes():
    games = Sample(100)
    rng = np.random.default_rng(0)
    for step in range(10_000):
        games.append(step, rng.normal())
    assert 50 < len(games) <= 100
    assert set(np.diff(games.steps)) == {128}
    assert np.mean(np.abs(games.values) < 0.67) == pytest.approx(0.5, abs=0.15)  # half of all lie there


def test_steps_never_run_backwards():
    series = Series()
    for step in (5, 3, 9):
        series.append(step, 1.0)
    assert series.steps.tolist() == [5, 5, 9]


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=300),
    st.integers(1, 50),
    st.none() | st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted),
)
def test_smoothing_stays_within_the_data_and_skips_gaps(values, count, window):
    steps, y = np.arange(len(values), dtype=float), np.array(values, dtype=float)
    at, averages = smoothed(steps, y, count, 0.05, window)
    assert len(at) == len(averages) <= min(len(values), 2 * count + 2)
    assert np.all(np.diff(at) > 0)
    finite = averages[np.isfinite(averages)]
    if len(finite):
        slack = 1e-6 * max(1.0, np.nanmax(np.abs(y)))
        assert np.nanmin(y) - slack <= finite.min()
        assert finite.max() <= np.nanmax(y) + slack


def test_smoothing_leaves_a_constant_alone_and_calms_noise():
    steps = np.arange(1000.0)
    assert smoothed(steps, np.full(1000, 3.0), 100, 0.05)[1] == pytest.approx(3.0)
    noise = np.random.default_rng(0).normal(size=1000)
    assert smoothed(steps, noise, 1000, 0.05)[1][100:].std() < noise.std() / 3


def test_smoothing_is_the_exponential_average_with_its_bias_corrected():
    _, averages = smoothed(np.arange(3.0), np.array([1.0, 4.0, 2.0]), 10, 1.0)
    decay = 1 - 2 / (3 + 1)
    assert averages[1] == pytest.approx((decay * 1 + 4) / (decay + 1))
    assert averages[2] == pytest.approx((decay**2 * 1 + decay * 4 + 2) / (decay**2 + decay + 1))


def test_in_a_window_the_points_before_it_still_weigh():
    values = np.r_[np.zeros(50), np.ones(50)]
    at, averages = smoothed(np.arange(100.0), values, 100, 0.15, window=(50, 99))
    assert 0 < averages[at == 50].item() < 0.5


def test_a_curve_that_grows_by_a_point_keeps_its_average():
    values = np.random.default_rng(2).normal(size=1001)
    (_, before), (_, after) = (smoothed(np.arange(float(n)), values[:n], 100, 0.05) for n in (1000, 1001))
    assert np.array_equal(before[:-1], after[: len(before) - 1])


def test_a_rewind_leaves_an_abandoned_branch_behind():
    series = Series()
    for step in range(0, 60, 10):
        series.append(step, float(step))
    series.rewind(20)
    series.append(30, -1.0)
    assert series.steps.tolist() == [0, 10, 20, 30]
    assert series.last == -1.0
    ((steps, values),) = series.branches
    assert steps.tolist() == [20, 30, 40, 50]  # it begins where it forked
    assert values.tolist() == [20, 30, 40, 50]
    assert series.extent == (0, 50)
    assert extent_of([series, Series()]) == (0, 50)
    series.rewind(1000)
    assert len(series.branches) == 1
    series.rewind(-1)
    assert len(series) == 0
    assert len(series.branches) == 2


@given(st.lists(st.tuples(st.integers(0, 99), st.booleans()), max_size=80))
def test_no_point_is_lost_by_rewinds(moves):
    series = Series()
    for count, (step, back) in enumerate(moves):
        series.rewind(step) if back else series.append(step, float(count))
    assert np.all(np.diff(series.steps) >= 0)
    kept = {*series.values, *(value for _, values in series.branches for value in values)}
    assert kept == {float(count) for count, (_, back) in enumerate(moves) if not back}


def test_the_value_at_a_step_is_the_one_in_force():
    series = Series()
    for step in (10, 20, 20, 30):
        series.append(step, step + len(series))
    assert math.isnan(series.at(9))
    assert [series.at(step) for step in (10, 19, 20, 25, 99)] == [10, 10, 22, 22, 33]


def test_the_curves_of_a_run_are_read_from_its_file(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [
        '{"time/total_timesteps": 1024, "train/loss": 1.0, "rollout/ep_rew_mean": null}',
        '{"time/total_timesteps": 2048, "train/loss": 2.0, "rollout/ep_rew_mean": 5.5}',
        "no metrics",
        '{"train/loss": 99.0}',
        '{"time/total_timesteps": 3072, "train/loss": 3.0, "late": 7.0}',
        '{"time/total_timesteps": 2048, "train/loss": 8.0}',
        '{"time/total_timesteps": 3072, "tra',
    ]
    file.write_text("\n".join(lines), "utf-8")
    curves = read_metrics(file)
    assert curves["train/loss"].values.tolist() == [1.0, 8.0]
    assert [steps.tolist() for steps, _ in curves["train/loss"].branches] == [[1024, 2048, 3072]]
    assert math.isnan(curves["rollout/ep_rew_mean"].last)
    assert len(curves["late"]) == 0
    with pytest.raises(OSError, match="nowhere"):
        read_metrics(tmp_path / "nowhere")


def test_scores_of_evaluations_stand_at_the_step_of_their_weights(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [
        '{"time/total_timesteps": 1024, "train/loss": 3.0}',
        '{"time/total_timesteps": 2048, "train/loss": 2.0}',
        '{"eval/total_timesteps": 1024, "eval/ep_rew_mean": 10.0}',
        '{"time/total_timesteps": 3072, "train/loss": 1.0}',
        '{"eval/total_timesteps": 3072, "eval/ep_rew_mean": 30.0}',
        '{"time/total_timesteps": 2048, "train/loss": 4.0}',
        '{"eval/total_timesteps": 2048, "eval/ep_rew_mean": 20.0}',
    ]
    file.write_text("\n".join(lines), "utf-8")
    curves = read_metrics(file)
    scores = curves["eval/ep_rew_mean"]
    assert dict(zip(scores.steps.tolist(), scores.values.tolist(), strict=True)) == {1024: 10.0, 2048: 20.0}
    assert [steps.tolist() for steps, _ in scores.branches] == [[1024, 3072]]
    assert curves["train/loss"].values.tolist() == [3.0, 4.0]


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


def test_a_long_curve_is_thinned_evenly_and_keeps_its_peaks():
    series = Series(most_points=256)
    values = np.sin(np.arange(10_000) / 50)
    values[1_234], values[7_777] = 50.0, -50.0
    for step, value in enumerate(values):
        series.append(step, None if 3_000 <= step < 4_000 else value)
        assert len(series) <= 256
    assert (np.nanmax(series.values), np.nanmin(series.values)) == (50.0, -50.0)
    assert np.all(np.diff(series.steps) > 0)
    tenths, _ = np.histogram(series.steps, bins=10, range=(0, 10_000))
    assert tenths.min() >= 8
    assert np.isnan(series.at(3_500))
    assert series.extent == (0, 9_999)
    assert (series.steps[-1], series.last) == (9_999, values[-1])


def test_a_long_curve_of_points_at_one_step_is_thinned():
    series = Series(most_points=64)
    for value in range(1_000):
        series.append(7, value)
    assert len(series) <= 64
    assert (series.values.min(), series.last) == (0, 999)
