"""Completion of the shell: runs, presets, settings, actions, formats."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import typer

from ..errors import PPOTuiError

Completions = list[tuple[str, str]]
"""Words, each with its help."""


def one_of(*words: str) -> Callable[[str], Completions]:
    """Complete one of a few words."""
    return lambda incomplete: _beginning(((word, "") for word in words), incomplete)


def runs(incomplete: str) -> Completions:
    """Complete the name of a run in ``./runs``, the newest first."""
    with contextlib.suppress(OSError, PPOTuiError):
        return _beginning(_runs(), incomplete)
    return []


def presets(incomplete: str) -> Completions:
    """Complete the name of a shipped preset."""
    from ..config import list_presets

    return _beginning(list_presets().items(), incomplete)


def overrides(incomplete: str) -> Completions:
    """Complete ``section.key=`` of a setting; by its short name too."""
    return [(f"{key}=", text) for key, text in settings(incomplete)]


def settings(incomplete: str, *, live: bool = False) -> Completions:
    """Complete the name of a setting.

    Args:
        live: one that may change while a run trains.
    """
    from ..config import LIVE_FIELDS, all_settings, short_names

    keys = [key for key in all_settings() if not live or key in LIVE_FIELDS]
    short = [(name, key) for name, key in short_names().items() if key in keys]
    found = [(key, all_settings()[key].description) for key in keys if key.startswith(incomplete)]
    return found or [(name, all_settings()[key].description) for name, key in short if name.startswith(incomplete)]


def ctl_words(context: typer.Context, incomplete: str) -> Completions:
    """Complete a word of ``ctl``: run, action or argument."""
    from ..runs.client import USAGE

    given = list(context.params.get("words") or ())
    if given and given[-1] == incomplete:
        given.pop()
    match given:
        case [*_, "set"]:
            return settings(incomplete, live=True)
        case [*_, "rewind"]:
            return one_of("best", "latest")(incomplete)
        case []:
            return one_of(*USAGE)(incomplete) + runs(incomplete)
        case [first] if first not in USAGE:
            return one_of(*USAGE)(incomplete)
    return []


def _runs() -> Iterator[tuple[str, str]]:
    from ..runs import run_directories

    yield "latest", "the newest run"
    for run_dir in run_directories():
        facts = run_dir.read()
        yield run_dir.path.name, " ".join(filter(None, (facts.get("env"), facts.get("status"))))


def _beginning(words: Iterable[tuple[str, str]], incomplete: str) -> Completions:
    return [(word, text) for word, text in words if word.startswith(incomplete)]
