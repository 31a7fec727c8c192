"""The command palette: keys by name, and settings with a value."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.widgets import Input, OptionList

from ppo_tui.config.live import find_live_key
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import Pause, SetValue
from ppo_tui.tui.palette import RunCommands
from ppo_tui.tui.screens.edit import EditScreen
from tests.tui.desk import Desk, characters, desk


async def hits(it: Desk, query: str):
    provider = RunCommands(it.app.main)
    provider._post_init()
    return sorted([hit async for hit in provider.search(query)], key=lambda hit: -hit.score)


async def found(it: Desk, query: str) -> str:
    """The best hit, by its first word or words."""
    best, *_ = await hits(it, query)
    return str(best.text).partition("  ")[0]


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


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("lr 7", "at most 1"),
        ("coef 1", "may mean"),
        ("lr -1", "at least 0"),
        ("lr abc", "'abc' is no number"),
        ("clip range abc", "'abc' is no number"),
    ],
)
async def test_a_bad_value_says_why_and_changes_nothing(query, words):
    async with desk() as it:
        first, *_ = await hits(it, query)
        assert words in first.text
        first.command()
        assert it.session.sent == []


async def listed(it: Desk) -> OptionList:
    """The open palette's list, once there is something in it."""
    options = it.app.screen.query_one(OptionList)
    while not options.option_count:
        await it.pilot.pause(0.05)
    return options


async def test_every_character_of_the_palette_is_as_wide_on_all_terminals():
    async with desk() as it:
        await it.press("ctrl+p")
        await listed(it)
        text = characters(it.app)
        assert "▸" in text
        assert all(cell_len(character) == 1 for character in text if character.isprintable())


async def test_the_palette_finds_what_steers_the_run_while_its_own_line_has_the_keyboard():
    async with desk() as it:
        it.session.can_detach = True
        await it.press("ctrl+p")
        assert isinstance(it.app.focused, Input)
        assert it.app.focused.placeholder == "a command, or `lr 1e-4`"
        for query, name in (
            ("pause", "Pause"),
            ("step", "Step"),
            ("save", "Save"),
            ("settings", "Settings"),
            ("undo", "Undo"),
            ("redo", "Redo"),
            ("changes", "Changes"),
            ("checkpoints", "Checkpoints"),
            ("rewind", "Checkpoints"),
            ("runs", "Runs"),
            ("detach", "Detach"),
            ("quit", "Quit"),
            ("leave", "Detach"),
            ("help", "Help"),
            ("screenshot", "Screenshot"),
            ("theme light", "Theme light"),
            ("entropy", "Setting entropy coef"),
            ("grad", "Setting max grad norm"),
            ("chart kl", "Chart train/approx_kl"),
            ("log", "Log axis"),
            ("chk", "Checkpoints"),
        ):
            assert await found(it, query) == name, query
        assert await hits(it, "xyzzy") == []
        provider = RunCommands(it.app.main)
        first = [str(hit.text).partition("  ")[0] async for hit in provider.discover()]
        names = [
            "Pause",
            "Step",
            "Save",
            "Detach",
            "Settings",
            "Undo",
            "Redo",
            "Changes",
            "Checkpoints",
            "Runs",
            "Help",
            "Quit",
        ]
        assert [name for name in first if name in names] == names
        assert first.index("Quit") < first.index("Log axis")
        assert "Setting gamma" in first
        assert "Traceback" not in first, "nothing has failed"


async def test_what_the_palette_offers_runs():
    async with desk() as it:

        async def run(query: str) -> None:
            best, *_ = await hits(it, query)
            if (waiting := best.command()) is not None:
                await waiting
            await it.pilot.pause()

        await run("pause")
        assert it.session.sent == [Pause()]
        await run("theme light")
        assert it.app.theme == "ppo-light"
        await run("chart value_loss")
        assert it.app.main.chart.spec.id == "loss"
        await run("clip_range")  # the metric and the setting
        await run("chart explained")
        assert it.app.main.chart.spec.title == "train/explained_variance"
        await run("setting gamma")
        assert isinstance(it.app.screen, EditScreen)
        assert it.app.controller.editor.selected == "ppo.gamma"


async def test_the_palette_takes_a_setting_from_the_keyboard():
    async with desk() as it:
        await it.press("ctrl+p", *"lr 1e-4")
        await listed(it)
        await it.press("enter", "enter")
        await it.pilot.pause()
        assert it.session.sent == [SetValue(key="optim.learning_rate", value=1e-4)]
