"""Write ``docs/keys.md`` from the table of keys.

Run it as ``python docs/write_keys.py``.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from ppo_tui.tui.keys import INTERRUPT, INTERRUPT_HELP, KEYS, Key

PAGE = Path(__file__).with_name("keys.md")

_HEAD = """# Keys

<!-- Written by docs/write_keys.py. -->

`keys.toml` gives other keys to these names; names in one line share a sentence.
"""


def page() -> str:
    """The whole page."""
    groups: dict[str, list[str]] = {}
    for key, others in _sentences():
        names = ", ".join(f"`{one.id}`" for one in (key, *others))
        groups.setdefault(key.group, []).append(f"| {key.display.replace('|', chr(92) + '|')} | {key.help} | {names} |")
    groups["Screens"].append(f"| {INTERRUPT} | {INTERRUPT_HELP} | |")
    tables = [
        "\n".join([f"## {group}\n", "| key | | names |", "|---|---|---|", *rows]) for group, rows in groups.items()
    ]
    return "\n".join([_HEAD, "\n\n".join(tables), ""])


def _sentences() -> list[tuple[Key, list[Key]]]:
    """Keys with a sentence, each with the keys sharing it."""
    sentences: list[tuple[Key, list[Key]]] = []
    for has_help, keys in itertools.groupby(KEYS, key=lambda key: bool(key.help)):
        if has_help:
            sentences += [(key, []) for key in keys]
        else:
            sentences[-1][1].extend(keys)
    return sentences


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
