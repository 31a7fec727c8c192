"""Keys as Textual's bindings, and as the help writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .table import KEYS, PANELS, TRAIN, Key

if TYPE_CHECKING:
    from textual.binding import Binding


def bindings(context: str = TRAIN) -> list[Binding]:
    """Textual's bindings of the keys in `context`."""
    panels = PANELS if context == TRAIN else ()
    places = {context, *panels}
    return bindings_of((key for key in KEYS if places & {*key.contexts}), context, *panels)


def bindings_of(keys: Iterable[Key], *places: str) -> list[Binding]:
    """Textual's bindings of these keys; the footer of `places` shows them."""
    from textual.binding import Binding

    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            show=any(key.shown_in(place) for place in places),
            key_display=key.display,
            tooltip=key.help,
            id=key.id,
        )
        for key in keys
    ]


def rows_by_group(
    keymap: Mapping[str, str], keys: Sequence[Key] = KEYS, *, ascii: bool = False
) -> Iterator[tuple[str, list[tuple[str, Key]]]]:
    """For the help: each group with its keys, as `keymap` writes them."""
    for group in dict.fromkeys(key.group for key in keys if key.help):
        rows = [(display(key, keymap, ascii=ascii), key) for key in keys if key.group == group and key.help]
        yield group, rows


def display(key: Key, keymap: Mapping[str, str], *, ascii: bool = False) -> str:
    """The writing of a key, in the user's own choice."""
    if key.id in keymap:
        return keymap[key.id].replace(",", " ")
    return in_ascii(key.display) if ascii else key.display


def in_ascii(display: str) -> str:
    """The writing of keys without their pictures: enter for ⏎.

    Look-alikes would be other keys.
    """
    for picture, word in _ASCII:
        display = display.replace(picture, word)
    return display


_ASCII = (("↑↓←→", "arrows"), ("⇞⇟", "pgup pgdn"), ("⏎", "enter"), ("⇧", "shift+"), ("→", "right"), ("←", "left"))
