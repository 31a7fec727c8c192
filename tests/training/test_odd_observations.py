"""A run says what its environment's observations do not fit."""

from __future__ import annotations

import pytest

from ppo_tui import Trainer
from ppo_tui.config import build_config, load_preset, to_tables
from ppo_tui.protocol import Alarm, Level, RunState
from tests.training.test_trainer import Recorder


def alarms(name: str, *, state: RunState = RunState.FINISHED, **tables) -> list[Alarm]:
    """The alarms of a short run with two environments of this name."""
    config = build_config(
        {
            "env": {"id": f"tests.training.odd_observations:{name}-v0", **tables.pop("env", {})},
            "rollout": {"num_envs": 2, "steps": 16},
            "workers": {"count": 2},
            "ppo": {"minibatches": 1},
            "policy": {"hidden": [4]},
            "run": {"total_steps": 64, "device": "cpu", **tables.pop("run", {})},
            **tables,
        }
    )
    recorder = Recorder()
    result = Trainer(config, sinks=[recorder]).run()
    assert result.state is state, result.reason
    return recorder.of(Alarm)


def test_numbers_outside_their_bounds_are_said_once_whatever_their_values():
    (alarm,) = alarms("Odd")
    assert alarm.message.startswith("environment ")
    assert "observation[1] is 2." in alarm.message
    assert "outside its bounds of -1 to 1; it is learnt as it is" in alarm.message


@pytest.mark.slow
def test_actor_learners_say_it_once_too():
    preset = to_tables(load_preset("a3c-cartpole"))
    tables = {name: preset[name] for name in ("ppo", "optim", "policy")}
    (alarm,) = alarms("Odd", **tables, workers={}, rollout={"num_envs": 2, "steps": 5}, run={"algorithm": "a3c"})
    assert "outside its bounds of -1 to 1" in alarm.message


def test_an_observation_of_another_type_drops_its_episode_and_is_named():
    first = alarms("Floats", state=RunState.FAILED)[0]  # in every episode: the run ends after five of them
    assert "failed in step 3 of its episode: BadValueError: expected uint8, got float32" in first.message
    assert "observation[0, 0] is 0.9" in first.message


@pytest.mark.parametrize(("masks", "state"), [("auto", RunState.FINISHED), (False, RunState.FAILED)])
def test_a_mask_within_the_observation_keeps_its_promise(masks, state):
    said = alarms("MaskWithin", state=state, env={"action_masks": masks})
    notes = [alarm for alarm in said if alarm.level == Level.INFO]
    assert len(notes) == (masks == "auto")
    assert all("masks the actions" in note.message for note in notes)
