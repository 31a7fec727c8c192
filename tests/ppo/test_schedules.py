"""Annealing, and live edits in the midst of it."""

import dataclasses
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from ppo_tui.ppo import Schedule

progress = st.floats(0, 1)
values = st.floats(1e-9, 1e3)


def test_linear_anneals_to_zero_at_the_end():
    schedule = Schedule(value=0.1, kind="linear")
    assert [schedule.at(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.1, pytest.approx(0.075), 0.05, 0.0]


@hypothesis.given(value=values, p=progress)
def test_constant_never_changes(value, p):
    assert Schedule(value=value).at(p) == value


@hypothesis.given(kind=st.sampled_from(["constant", "linear"]), value=values, p=progress)
def test_an_edit_holds_exactly_from_its_moment(kind, value, p):
    assert Schedule(value=0.5, kind=kind).edited(value, p).at(p) == value


@hypothesis.given(value=values, p=st.floats(0, 0.99), q=progress)
def test_after_an_edit_linear_anneals_from_there_to_zero(value, p, q):
    edited = Schedule(value=0.5, kind="linear").edited(value, p)
    later = p + q * (1 - p)
    assert edited.at(later) == pytest.approx(value * (1 - q), abs=1e-9 * value)
    assert edited.at(1.0) == 0.0


@hypothesis.given(value=values, p=progress, q=progress)
def test_linear_never_leaves_the_range_from_its_value_to_zero(value, p, q):
    assert 0.0 <= Schedule(value=value, kind="linear", since=p).at(q) <= value


def test_progress_past_the_planned_end_stays_at_zero():
    assert Schedule(value=0.1, kind="linear").at(1.2) == 0.0


def test_survives_json():
    schedule = Schedule(value=2.5e-4, kind="linear").edited(1e-4, 0.3)
    assert Schedule(**json.loads(json.dumps(dataclasses.asdict(schedule)))) == schedule
