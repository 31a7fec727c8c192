"""Rows 18, 20 and 21: clocks that jump, keys by the thousand, presets out of nowhere."""

from __future__ import annotations

import itertools
import math
import random
import time
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui import Trainer
from ppo_tui.config import build_config, list_presets, load_preset, preset_path, to_toml
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import (
    CheckpointSaved,
    CommandRefused,
    Event,
    Pause,
    Resume,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    UpdateFinished,
    WatchGame,
)
from tests.config.test_loading import random_presets
from tests.faults.conftest import UPDATES, faulty, train


@pytest.mark.parametrize("day", [86_400.0, -86_400.0])
def test_rates_and_times_do_not_care_when_the_clock_jumps_by_a_day(day: float, monkeypatch):
    real, jumps = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() + day * (next(jumps) % 3))
    _, result, recorder = train(faulty())
    assert result.state is RunState.FINISHED
    elapsed = [event.elapsed for event in recorder.events]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] < 3600
    for update in recorder.of(UpdateFinished):
        for key in ("time/fps", "time/fps_update", "time/time_elapsed"):
            assert 0 < update.metrics[key] < math.inf


def test_ten_thousand_keys_come_to_one_change_of_each_setting_an_update(tmp_path):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 1:
            for number in range(2000):
                trainer.send(SetValue(key="ppo.entropy_coef", value=number / 1e5))
                trainer.send(Pause())
                trainer.send(Resume())
                trainer.send(SaveCheckpoint())
                trainer.send(WatchGame(env=number % 4))

    _, result, recorder = train(faulty(), react, checkpoint_dir=tmp_path)
    assert result.state is RunState.FINISHED
    assert len(recorder.of(UpdateFinished)) == UPDATES
    assert [(change.old, change.new) for change in recorder.of(SettingChanged)] == [(0.0, 0.01999)]
    assert [saved.reason for saved in recorder.of(CheckpointSaved)] == ["manual", "final"]
    assert not recorder.of(CommandRefused)


def load(text: str, tmp_path) -> None:
    """Anything is a configuration that survives a round trip, or is refused as a `ConfigError`."""
    path = tmp_path / "random.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        config = load_preset(str(path))
    except ConfigError:  # any other exception fails the test
        return
    assert build_config(tomllib.loads(to_toml(config))) == config


JUNK = [
    "", "\x00", "nan", "inf", "-1", "1e400", "9" * 23, "[", "[" * 300, "= =", '"', "'''", "\n[env]\n",
    "id = 'os:system'", "\ud800", "é", "{a = 1}", "true", "0x",
]  # fmt: skip


def damaged(seed: int) -> str:
    """A shipped preset with a few characters, words or lines changed."""
    rng = random.Random(seed)
    text = preset_path(rng.choice(sorted(list_presets()))).read_text("utf-8")
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text))
        text = text[:start] + rng.choice(JUNK) + text[start + rng.randint(0, 12) :]
    return text


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.faults)])
def test_damaged_presets_are_refused_in_words(count: int, tmp_path):
    for seed in range(count):
        load(damaged(seed), tmp_path)


@pytest.mark.faults
@given(random_presets, st.booleans())
@settings(max_examples=2000)
def test_two_thousand_random_tables(data: dict, with_env: bool):
    if with_env:
        data = {**data, "env": {"id": "CartPole-v1"}}
    try:
        build_config(data)
    except ConfigError:
        return
