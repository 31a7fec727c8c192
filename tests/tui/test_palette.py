"""The command palette: keys by name, and settings with a value."""

from __future__ import annotations

import pytest

from ppo_tui.config.live import find_live_key
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import Pause, SetValue
from ppo_tui.tui.palette import RunCommands
from tests.tui.desk import Desk, desk


async def hits(it: Desk, query: str):
    provider = RunCommands(it.app.screen)
    provider._post_init()
    return [hit async for hit in provider.search(query)]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("lr", "optim.learning_rate"),
        ("learning rate", "optim.learning_rate"),
        ("Learning-Rate", "optim.learning_rate"),
        ("optim.learning_rate", "optim.learning_rate"),
        ("gamma", "ppo.gamma"),
        ("clip", "ppo.clip_range"),
        ("ent", "ppo.entropy_coef"),
        ("kl", "ppo.target_kl"),
        ("epoch", "ppo.epochs"),
        ("lambda", "ppo.gae_lambda"),
    ],
)
def test_a_setting_is_found_by_any_name_that_is_its_own(text, key):
    assert find_live_key(text) == key


@pytest.mark.parametrize(
    ("text", "words"), [("coef", "value_coef or ppo.entropy_coef"), ("batch", "no live"), ("", "no live")]
)
def test_other_names_are_refused_with_what_was_meant(text, words):
    with pytest.raises(ConfigError, match=words):
        find_live_key(text)


@pytest.mark.parametrize(
    ("query", "command"),
    [
        ("lr 1e-4", SetValue(key="optim.learning_rate", value=1e-4)),
        ("learning rate = 2e-4", SetValue(key="optim.learning_rate", value=2e-4)),
        ("ppo.epochs 3", SetValue(key="ppo.epochs", value=3)),
        ("kl off", SetValue(key="ppo.target_kl", value=None)),
    ],
)
async def test_a_setting_with_a_value_is_a_command(query, command):
    async with desk() as it:
        first, *_ = await hits(it, query)
        first.command()
        assert it.session.sent == [command]


@pytest.mark.parametrize(("query", "words"), [("lr 7", "at most 1"), ("coef 1", "may mean"), ("lr -1", "at least 0")])
async def test_a_bad_value_says_why_and_changes_nothing(query, words):
    async with desk() as it:
        first, *_ = await hits(it, query)
        assert words in first.text
        first.command()
        assert it.session.sent == []


async def test_keys_are_found_by_what_they_do():
    async with desk() as it:
        assert any("Pause" in hit.text for hit in await hits(it, "pause"))
        assert any("Checkpoints" in hit.text for hit in await hits(it, "checkpoints"))


async def test_the_palette_takes_a_setting_from_the_keyboard():
    async with desk() as it:
        await it.press("ctrl+p", *"lr 1e-4")
        await it.app.workers.wait_for_complete()
        await it.pilot.pause(0.2)
        await it.press("down", "enter")
        await it.pilot.pause()
        assert it.session.sent == [SetValue(key="optim.learning_rate", value=1e-4)]


async def test_what_the_palette_offers_runs():
    async with desk() as it:
        provider = RunCommands(it.app.screen)
        offered = {str(hit.text): hit.command async for hit in provider.discover()}
        await next(command for name, command in offered.items() if name.startswith("Pause"))()
        assert it.session.sent == [Pause()]
        assert any(name.startswith("Log axis") for name in offered)
        assert not any(name.startswith("Traceback") for name in offered)  # nothing has failed
