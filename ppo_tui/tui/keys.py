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
    Key(
        "select-next",
        "down,right_square_bracket",
        "select(1)",
        "↑↓",
        "Select a setting ([ and ] too).",
        "Set",
        "Settings",
    ),
    Key("select-previous", "up,left_square_bracket", "select(-1)", "↑"),
    Key("nudge-up", "plus,equals_sign", "nudge(1)", "+-", "Raise or lower it by a step.", "Nudge", "Settings"),
    Key("nudge-down", "minus,underscore", "nudge(-1)", "-"),
    Key("edit", "enter", "edit", "⏎", "Type a value for it.", "Type", "Settings"),
    Key("chart-1", "1", "chart(0)", "1-5", "Choose a chart (tab: the next one).", "Chart", "Charts"),
    Key("next-chart", "tab", "next_chart(1)", "tab"),
    Key("previous-chart", "shift+tab", "next_chart(-1)", "⇧tab"),
    *(Key(f"chart-{number}", str(number), f"chart({number - 1})", str(number)) for number in range(2, 6)),
    Key("log-axis", "y", "log_axis", "y", "Switch its axis between linear and logarithmic.", "", "Charts"),
    Key("maximise", "m", "maximise", "m", "Give it all the room, or put it back.", "", "Charts"),
    Key("events", "l", "events", "l", "Read the whole log of events.", "", "Screens"),
    Key("traceback", "t", "traceback", "t", "Read the traceback of a failed run.", "Trace", "Screens"),
    Key("detach", "d", "detach", "d", "Leave the screen; the run goes on in the background.", "", "Screens"),
    Key(
        "take-control",
        "T",
        "take_control",
        "T",
        "Steer a run that another screen steers.",
        "",
        "Screens",
    ),
    Key("help", "question_mark,f1", "help", "?", "Show this help.", "Help", "Screens"),
    Key("quit", "q", "quit", "q", "Leave: save and stop, stop at once, or stay.", "Quit", "Screens"),
)

REPLAY_KEYS: tuple[Key, ...] = (
    Key("replay-hold", "space,p", "hold", "p", "Hold the replay, or let it go on.", "Hold", "Replay"),
    Key("replay-slower", "less_than_sign", "speed(-1)", "<", "Play half as fast.", "Slower", "Replay"),
    Key("replay-faster", "greater_than_sign", "speed(1)", ">", "Play twice as fast.", "Faster", "Replay"),
    Key("replay-back", "comma,left", "seek(-1)", ",", "Go back by a twentieth of the run (← too).", "Back", "Replay"),
    Key("replay-on", "full_stop,right", "seek(1)", ".", "Go on by a twentieth of the run (→ too).", "On", "Replay"),
    Key("replay-begin", "home", "seek_to(0)", "home", "Go to the beginning.", "", "Replay"),
    Key("replay-end", "end", "seek_to(1)", "end", "Go to the end.", "", "Replay"),
)
"""Keys of a replay; they come before those of the main screen with the same names."""

INTERRUPT_HELP = "Leave as with q; twice: stop without a checkpoint."


def bindings(keys: tuple[Key, ...] = KEYS) -> list[Binding]:
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
        for key in keys
    ]
