"""Text from others reaches a terminal without anything that steers it."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.text import counted, printable


@given(st.text(st.characters()))
def test_no_control_character_remains(text: str):
    steering = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not [character for character in printable(text) if unicodedata.category(character) in steering]


def test_escape_c1_bidi_and_line_feeds_are_replaced_and_words_stay():
    assert printable("a\x1b[31m\x9b\u202eb\nc") == "a�[31m��b�c"
    assert printable("Grüße, 東京 🎮") == "Grüße, 東京 🎮"


def test_line_feeds_and_tabs_may_stay():
    assert printable("a\n\tb\r", lines=True) == "a\n\tb�"


def test_one_is_no_plural():
    assert [counted(number, "worker") for number in (0, 1, 2, 1200)] == [
        "0 workers",
        "1 worker",
        "2 workers",
        "1,200 workers",
    ]
