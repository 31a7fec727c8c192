"""Commands on their way into the training loop."""

from __future__ import annotations

import pytest

from ppo_tui.protocol import Cause, CommandRefused, Event, SetValue, WithdrawValue
from ppo_tui.training.controls import Controls

GAMMA = "ppo.gamma"


@pytest.fixture
def said() -> list[Event]:
    return []


@pytest.fixture
def controls(said: list[Event]) -> Controls:
    return Controls(said.append, lambda paused: None)


def test_the_last_value_asked_for_wins_and_keeps_who_and_why(controls):
    controls.send(SetValue(key=GAMMA, value=0.9))
    controls.send(SetValue(key=GAMMA, value=0.8, by="ctl", cause=Cause.UNDO))
    controls.check()
    assert controls.at_boundary() == ([SetValue(key=GAMMA, value=0.8, by="ctl", cause=Cause.UNDO)], False)
    assert controls.at_boundary() == ([], False)


def test_what_is_withdrawn_before_the_boundary_never_comes_into_force(controls, said):
    controls.send(SetValue(key=GAMMA, value=0.9))
    controls.send(WithdrawValue(key=GAMMA))
    controls.check()
    assert controls.at_boundary() == ([], False)
    assert said == []


def test_withdrawing_what_is_in_force_already_says_so(controls, said):
    controls.send(WithdrawValue(key=GAMMA))
    controls.check()
    (refused,) = said
    assert isinstance(refused, CommandRefused)
    assert "ppo.gamma" in refused.message
    assert "undo it" in refused.message
