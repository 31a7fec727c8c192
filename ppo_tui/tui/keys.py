"""Every key of the main screen, once: bindings, footer, help and command palette are made from this table."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True)
class Key:
    """One action that keys lead to.

    Attributes:
        id: what a keymap calls it.
        keys: Textual's names of the keys, separated by commas.
        action: the method ``action_…`` of the main screen, with its arguments.
        label: one word for the footer; without it the key is not shown there.
        display: how footer and help write the keys.
        help: one sentence; without it another key's entry covers this one.
    """

    id: str
    keys: str
    action: str
    display: str
    help: str = ""
    label: str = ""
    group: str = ""


KEYS: tuple[Key, ...] = (
    Key("pause", "space,p", "pause", "p", "Pause, or go on.", "Pause", "Training"),
    Key("step", "s", "step", "s", "Run one update, then pause.", "Step", "Training"),
    Key("save", "c", "save", "c", "Save a checkpoint at the next update.", "Save", "Training"),
    Key("select-next", "down", "select(1)", "↑↓", "Select a setting.", "Set", "Settings"),
    Key("select-previous", "up", "select(-1)", "↑"),
    Key("nudge-up", "plus,equals_sign", "nudge(1)", "+-", "Raise or lower it by a step.", "Nudge", "Settings"),
    Key("nudge-down", "minus,underscore", "nudge(-1)", "-"),
    Key("edit", "enter", "edit", "⏎", "Type a value for it.", "Type", "Settings"),
    Key("chart-1", "1", "chart(0)", "1-5", "Choose a chart (tab: the next one).", "Chart", "Charts"),
    Key("next-chart", "tab", "next_chart(1)", "tab"),
    Key("previous-chart", "shift+tab", "next_chart(-1)", "⇧tab"),
    *(Key(f"chart-{number}", str(number), f"chart({number - 1})", str(number)) for number in range(2, 6)),
    Key("log-axis", "y", "log_axis", "y", "Switch its axis between linear and logarithmic.", "", "Charts"),
    Key("maximise", "m", "maximise", "m", "Give it all the room, or put it back.", "", "Charts"),
    Key("game", "v", "game", "v", "Show or hide the game.", "Game", "Game"),
    Key("zoom-game", "V", "zoom_game", "V", "Give it the whole screen; esc goes back.", "", "Game"),
    Key("next-env", "right_square_bracket", "choose_env(1)", "[ ]", "Choose the environment to watch.", "", "Game"),
    Key("previous-env", "left_square_bracket", "choose_env(-1)", "["),
    Key("events", "l", "events", "l", "Read the whole log of events.", "", "Screens"),
    Key("traceback", "t", "traceback", "t", "Read the traceback of a failed run.", "Trace", "Screens"),
    Key("help", "question_mark,f1", "help", "?", "Show this help.", "Help", "Screens"),
    Key("quit", "q", "quit", "q", "Leave: save and stop, stop at once, or stay.", "Quit", "Screens"),
)

INTERRUPT_HELP = "Leave as with q; twice: stop without a checkpoint."


def bindings() -> list[Binding]:
    """The table as Textual wants it."""
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            show=bool(key.label),
            key_display=key.display,
            tooltip=key.help,
            id=key.id,
        )
        for key in KEYS
    ]
