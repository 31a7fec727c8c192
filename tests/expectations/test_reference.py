"""The arithmetic of milestones, and the file of a measured curve."""

from __future__ import annotations

import contextlib
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui.config import list_presets
from ppo_tui.errors import UsageError
from ppo_tui.expectations import Reference, as_reference, curve_path, format_curve, parse_curve, read_curve
from tests.references import breakout_reference

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:.6g}"))


@st.composite
def references(draw: st.DrawFn) -> Reference:
    rows = draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=100))
    low, mean, high = zip(*map(sorted, rows), strict=True)
    gaps = draw(st.lists(st.integers(1, 10**9), min_size=len(rows), max_size=len(rows)))
    milestones = draw(st.lists(numbers, min_size=1, max_size=16, unique=True))
    steps = tuple(map(float, np.cumsum(gaps).tolist()))
    return Reference(
        preset="cartpole",
        seeds=draw(st.integers(1, 99)),
        machine=draw(st.text("aé, #:9", max_size=20)).strip(),
        date="2026-11-28",
        version="0.1.0",
        command="ppo-tui",
        milestones=tuple(sorted(milestones)),
        steps=steps,
        mean=mean,
        low=low,
        high=high,
        seconds=tuple(step / 1024 for step in steps),
    )


def rising(*means: float) -> Reference:
    """A reference of one run with a row each 100 steps."""
    mean = tuple(map(float, means))
    steps = tuple(100.0 * (1 + index) for index in range(len(mean)))
    return msgspec.structs.replace(
        breakout_reference(), steps=steps, mean=mean, low=mean, high=mean, seconds=steps, milestones=(10.0, 20.0)
    )


def test_a_score_was_first_reached_between_rows_on_a_straight_line():
    curve = rising(0, 10, 5, 20)
    assert curve.reached(-5) == 100
    assert curve.reached(5) == 150
    assert curve.reached(10) == 200
    assert curve.reached(15) == pytest.approx(300 + 100 * 2 / 3)
    assert curve.reached(21) is None


def test_the_way_left_begins_at_the_score_and_on_a_plateau_at_the_step():
    curve = rising(0, 1, 1, 1, 1, 21)  # a plateau of 1 from step 200 to 500
    for step, left in ((10, 395), (200, 395), (300, 295), (500, 95), (9_000, 95)):
        assert curve.steps_left(20, step, 1) == pytest.approx(left), step
    assert curve.steps_left(20, 9_000, 11) == pytest.approx(45)  # late, but no longer on the plateau
    assert curve.steps_left(20, 9_000, 0.5) == pytest.approx(445)  # nor on it yet
    assert curve.steps_left(22, 10, 1) is None
    assert curve.steps_left(20, 10, 22) is None


@settings(max_examples=60, deadline=None)
@given(references(), numbers, numbers, numbers, st.integers(0, 10**11), st.integers(0, 10**11))
def test_the_way_left_is_never_negative_and_monotone(curve, score, other, milestone, step, more):
    left = curve.steps_left(milestone, step, score)
    if left is None:
        return
    slack = 1e-6 * curve.steps[-1]
    assert 0 <= left <= curve.steps[-1]
    if (further := curve.steps_left(max(milestone, other), step, score)) is not None:
        assert further >= left - slack
    if (better := curve.steps_left(milestone, step, max(score, other))) is not None:
        assert better <= left + slack
    assert curve.steps_left(milestone, step + more, score) <= left + slack


@settings(max_examples=40, deadline=None)
@given(references())
def test_a_written_curve_reads_as_it_was(curve):
    text = format_curve(curve)
    assert parse_curve(text, "cartpole", "file") == curve
    assert as_reference(msgspec.json.decode(msgspec.json.encode(curve))) == curve


GOOD = format_curve(rising(0, 10, 20))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# seeds: 3", "# seeds: 3\n# seeds: 3", "line 2: 'seeds' is unknown or repeated"),
        ("# seeds: 3", "# seeds: 0", "seeds"),
        ("# seeds: 3\n", "", "no seeds in its head"),
        ("# machine", "# engine", "'engine' is unknown"),
        ("# milestones: 10, 20", "# milestones: 20, 10", "milestones: must increase"),
        ("# milestones: 10, 20", "# milestones: ten", "'ten' is not a number"),
        ("steps,mean", "mean,steps", "line 7: the columns must be"),
        ("200,10,10,10,200", "200,10,10,10", "line 9: 4 cells"),
        ("200,10,10,10,200", "200,nan,10,10,200", "line 9: 'nan' is not a number"),
        ("200,10,10,10,200", "200,1e999,10,10,200", "every number must be finite"),
        ("200,10,10,10,200", "200,1_0,10,10,200", "'1_0' is not a number"),
        ("200,10,10,10,200", "100,10,10,10,200", "steps: must increase"),
        ("200,10,10,10,200", "200,10,11,10,200", "the mean must lie between"),
        ("200,10,10,10,200", "200,10,10,10,20", "seconds: must not decrease"),
        ("200,10,10,10,200", "200,1e16,1e16,1e16,200", "at most 1e+15"),
        ("# date: 2026", "# date: \x1b[2J2026", "date: not printable"),
        ("200,10,10,10,200\n300,20,20,20,300\n", "", "length >= 2"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(old, new, said):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(UsageError, match="file") as refused:
        parse_curve(text, "breakout", "file")
    assert said in str(refused.value)
    assert "write_curve" in (refused.value.hint or "")


def test_more_rows_than_a_chart_shows_are_refused():
    rows = "".join(f"{step},1,1,1,{step}\n" for step in range(400, 600))
    with pytest.raises(UsageError, match="more than 100 rows"):
        parse_curve(GOOD + rows, "breakout", "file")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.text("#,:0123456789.e-\nabc", max_size=200))
def test_any_text_is_a_curve_or_is_refused(text):
    with contextlib.suppress(UsageError):
        assert parse_curve(text, "breakout", "file")


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "\x1b]0;title\x07"},
        {"preset": 7},
        {"mean": [1.0]},
        {"steps": list(range(101))},
        {"machine": "a\u202eb"},
        {"machine": "x" * 301},
        {"milestones": [1.0] * 2},
        {"seeds": -1},
        {"low": [math.inf] * 100},
    ],
)
def test_a_damaged_reference_of_an_event_is_none(change):
    whole = msgspec.to_builtins(breakout_reference())
    assert as_reference(whole) == breakout_reference()
    assert as_reference(whole | change) is None
    assert as_reference(whole | {"of a later version": 1}) == breakout_reference()


def test_every_shipped_curve_is_whole_and_has_its_preset():
    curves = {path.stem for path in curve_path("any").parent.glob("*.csv")}
    assert "cartpole" in curves <= set(list_presets())
    for name in curves:
        curve = read_curve(name)
        assert curve is not None
        assert curve.reached(curve.milestones[0]) is not None
    assert read_curve("breakout-of-nobody") is None
    assert read_curve("../curves/cartpole") is None
