"""The user's own keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.keys import _character_to_key

from ppo_tui.errors import ConfigError
from ppo_tui.protocol import Pause, StepUpdates
from ppo_tui.tui.keys import KEYS, key_name, keymap_path, load_keymap, refuse_collisions
from tests.tui.desk import desk


def load(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    return load_keymap(path)


def test_the_keys_as_shipped_do_not_collide():
    refuse_collisions(Path("shipped"), {})
    assert len({key.id for key in KEYS}) == len(KEYS)


def test_no_file_changes_nothing(tmp_path):
    assert load_keymap(tmp_path / "nowhere" / "keys.toml") == {}
    assert load(tmp_path, "") == load(tmp_path, "[keys]") == {}


def test_keys_are_written_as_people_write_them(tmp_path):
    keymap = load(tmp_path, '[keys]\npause = "f5"\nhelp = ["X", "?"]\nundo = "ctrl+z"\nfilter = "£"')
    assert keymap == {"pause": "f5", "help": "X,question_mark", "undo": "ctrl+z", "filter": "pound_sign"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keys", ["not valid TOML", "[keys]"]),
        ('[key]\npause = "x"', ["'key'", "[keys]"]),
        ("keys = 1", ["keys is 1", "section"]),
        ('[keys]\npuase = "x"', ["keys.puase", "did you mean 'pause'"]),
        ("[keys]\npause = 5", ["keys.pause = 5", "expected a key"]),
        ("[keys]\npause = []", ["keys.pause = []", "expected a key"]),
        ('[keys]\npause = "pgeup"', ["'pgeup' is not a key", "pageup"]),
        ('[keys]\npause = ""', ["is not a key"]),
        ('[keys]\npause = "q"', ["'q' would mean both pause and quit"]),
        ('[keys]\napply = "ctrl+c"', ["'ctrl+c'", "leaving"]),
    ],
)
def test_a_bad_file_is_refused_with_file_key_and_what_is_expected(tmp_path, text, words):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, text)
    for word in ["keys.toml", *words]:
        assert word in str(refusal.value)


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "keys.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_keymap(tmp_path / "keys.toml")
    with pytest.raises(ConfigError, match="is a directory"):
        load_keymap(tmp_path)


def test_where_the_file_is():
    assert keymap_path({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}) == Path("/c/ppo-tui/keys.toml")
    assert keymap_path({"HOME": "/h"}) == Path("/h/.config/ppo-tui/keys.toml")


async def test_chosen_keys_work_and_help_and_footer_say_so():
    async with desk(keymap={"step": "f5", "pause": "s"}) as it:
        assert "s Pause" in it.picture
        await it.press("f5", "s", "p", "space")
        assert it.session.sent == [StepUpdates(updates=1), Pause()]
        await it.say()
        assert "f5 Step" in it.picture
        assert "s Resume" in it.picture, "the next press takes the pause back"
        await it.press("question_mark")
        assert "f5        Run one update, then pause." in it.said("#help-text")


def test_a_bad_file_stops_the_start(ppo_tui):
    done = ppo_tui("--preset", "cartpole", "--theme", "drak")
    assert done.returncode == 2
    assert "did you mean 'dark'" in done.stderr


@pytest.mark.parametrize("character", [chr(code) for code in range(33, 127)])
def test_a_character_has_the_name_that_textual_gives_its_key(character):
    assert key_name(character) == _character_to_key(character)
